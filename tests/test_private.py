"""What the text calls private is: folders, sockets, logs. Another user of this machine gets nowhere; a person's folder keeps its mode."""

import os
import stat
from pathlib import Path

import pytest
from conftest import ROOT, draw_stills

from components.shared.errors import CannotRun
from pipelines import containers
from pipelines.__main__ import main

NOBODY = 65534


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def as_nobody(work) -> bool:
    """Whether another user may do it, tried in a process of theirs."""
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            work()
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def common(tmp_path_factory) -> Path:
    """A folder that every user of this machine can enter and write to, as those are that people share."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o1777)
        yield folder


def test_a_private_folder_is_made_and_recognised(tmp_path):
    made = containers.private_folder(tmp_path / "a" / "b")
    assert mode(made) == 0o700
    assert containers.private_folder(made) == made


@pytest.mark.parametrize("bits", [0o755, 0o770, 0o701, 0o777])
def test_a_folder_that_is_open_to_others_is_refused_and_keeps_its_mode(tmp_path, bits):
    (tmp_path / "x").mkdir()
    (tmp_path / "x").chmod(bits)
    with pytest.raises(CannotRun, match=f"is open to other users, or not yours \\(mode 0{bits:o}\\)"):
        containers.private_folder(tmp_path / "x")
    assert mode(tmp_path / "x") == bits


def test_what_only_looks_like_a_folder_of_ours_is_refused(tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "file").write_text("")
    for name in ("link", "file"):
        with pytest.raises(CannotRun, match="is open to other users, or not yours"):
            containers.private_folder(tmp_path / name)
    if os.getuid() == 0:
        os.chown(tmp_path / "real", NOBODY, NOBODY)
        with pytest.raises(CannotRun, match="is open to other users, or not yours"):
            containers.private_folder(tmp_path / "real")


@pytest.mark.parametrize("bits", [0o755, 0o1777, 0o2775])
def test_a_persons_root_keeps_its_mode_and_what_is_made_in_it_is_private(here, common, bits, capsys, monkeypatch):
    common.chmod(bits)
    (here / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    draw_stills(here / "s", each=1)
    from components.__main__ import main as darkroom

    assert darkroom(["ingest", "s", "data"]) == 0
    assert main(["run", "--containers", "--root", str(common)]) == 2
    assert "no container engine answers" in capsys.readouterr().err
    assert mode(common) == bits
    assert mode(common / "containers") & 0o777 == 0o700
    assert mode(common / "containers/artifacts") == 0o777
    if os.getuid() == 0:
        assert not as_nobody(lambda: (common / "containers/artifacts/x").write_text(""))
        assert as_nobody(lambda: list(common.iterdir()))


@pytest.mark.parametrize("memory", ["", "lots", "-1", "0", "4 g", "4g; touch x"])
def test_a_limit_that_is_none_is_said_before_anything_starts(here, memory, capsys, monkeypatch):
    (here / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    draw_stills(here / "s", each=1)
    from components.__main__ import main as darkroom

    assert darkroom(["ingest", "s", "data"]) == 0
    assert main(["run", "--containers", f"--memory={memory}"]) == 2
    assert f"--memory {memory}: expected a whole number and a unit" in capsys.readouterr().err
