"""infra/setup.sh itself, with a lock of two packages and an index that is a folder: no network. The uv in it is the real one."""

import hashlib
import importlib.util
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from uv import find_uv_bin

spec = importlib.util.spec_from_file_location("install", ROOT / "infra/install.py")
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)

REAL = f"import os, sys; os.execv({find_uv_bin()!r}, ['uv', *sys.argv[1:]])"
BROKEN = "import sys; sys.exit('error: no answer from https://me:secret@index.example.org/simple')"


def wheel(folder: Path, name: str, **modules: str) -> str:
    """Write version 1.0 of a package; its line for a lock."""
    file = folder / f"{name}-1.0-py3-none-any.whl"
    information = {"METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "RECORD": "",
                   "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}  # fmt: skip
    with zipfile.ZipFile(file, "w") as archive:
        for module, text in modules.items():
            archive.writestr(zipfile.ZipInfo(f"{name}/{module}.py"), text)
        for part, text in information.items():
            archive.writestr(zipfile.ZipInfo(f"{name}-1.0.dist-info/{part}"), text)
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "infra").mkdir()
    (tmp_path / "index").mkdir()
    for name in ("setup.sh", "install.py"):
        (tmp_path / "infra" / name).write_bytes((ROOT / "infra" / name).read_bytes())
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "1"\n')
    return tmp_path


def set_up(place: Path, lock: str) -> tuple[str, str]:
    """What it says, and who installed `thing`."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_")) and name != "PYTHONPATH"
    }
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(place / "index"), "PIP_CONFIG_FILE": os.devnull}
    environment |= {"PYTHON": sys.executable, "UV_CACHE_DIR": str(place / "cache")}
    (place / "requirements.lock").write_text(lock)
    done = subprocess.run(["bash", "infra/setup.sh"], cwd=place, env=environment, capture_output=True, text=True)
    there = list(place.glob(".venv/lib/python*/site-packages/thing-1.0.dist-info/INSTALLER"))
    return done.stderr, there[0].read_text().strip() if there else ""


def test_uv_installs_from_where_pip_would(place):
    lock = wheel(place / "index", "thing", __init__="") + wheel(place / "index", "uv", __main__=REAL)
    said, installer = set_up(place, lock)
    assert "by pip" not in said
    assert installer == "uv"


def test_where_uv_fails_pip_installs_and_says_why_without_an_address(place):
    lock = wheel(place / "index", "thing", __init__="") + wheel(place / "index", "uv", __main__=BROKEN)
    said, installer = set_up(place, lock)
    assert "installing by pip, not by uv, in some minutes (uv: error: no answer from ...)" in said
    assert "secret" not in said
    assert installer == "pip"


def test_a_package_that_is_not_the_pinned_one_stops_the_set_up(place):
    lock = wheel(place / "index", "thing", __init__="right = True") + wheel(place / "index", "uv", __main__=REAL)
    wheel(place / "index", "thing", __init__="right = False")
    said, installer = set_up(place, lock)
    assert "DO NOT MATCH THE HASHES" in said
    assert not installer
    assert not (place / ".venv/installed").exists()
    said, installer = set_up(place, "thing==1.0\n")
    assert "Hashes are required in --require-hashes mode" in said
    assert not installer


def test_what_is_set_for_pip_is_handed_over_to_uv(monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    listed = """:env:.find-links='/a /b'
global.cert='/ca.pem'
global.extra-index-url='https://one.example.org/simple\\nhttps://two.example.org/simple'
global.find-links='/c'
global.index-url='https://me:word@example.org/simple'
global.proxy='proxy.example.org:8080'
global.trusted-host='one.example.org two.example.org'
install.client-cert='/key.pem'
install.no-index='true'
user.nothing='x'
"""
    assert install.for_uv(install.pip_options(listed)) == {
        "UV_FIND_LINKS": "/a,/b", "SSL_CERT_FILE": "/ca.pem", "UV_DEFAULT_INDEX": "https://me:word@example.org/simple",
        "UV_INDEX": "https://one.example.org/simple https://two.example.org/simple", "UV_INDEX_STRATEGY": "unsafe-best-match",
        "ALL_PROXY": "http://proxy.example.org:8080", "HTTP_PROXY": "http://proxy.example.org:8080",
        "HTTPS_PROXY": "http://proxy.example.org:8080", "UV_INSECURE_HOST": "one.example.org two.example.org",
        "SSL_CLIENT_CERT": "/key.pem", "UV_NO_INDEX": "true",
    }  # fmt: skip
    assert install.for_uv({}) == {"UV_SYSTEM_CERTS": "1"}  # as pip does
