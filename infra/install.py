"""Install what a lock names, all by its hashes, into the environment of this Python: by uv where that works, else by pip.

    .venv/bin/python infra/install.py requirements.lock

uv takes a fraction of pip's time. It stands in the lock itself, and finds packages as pip on this machine does.
"""

import ast
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
# No resolving: a newer release on an index changes nothing.
EXACTLY = ("install", "--quiet", "--require-hashes", "--no-deps", "--requirement")
HANDED_OVER = {  # pip's options, and the variables that say the same to uv
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": ("UV_NO_INDEX",),
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "proxy": ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY"),
    "trusted-host": ("UV_INSECURE_HOST",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
}
PIPS_ALONE = {"no-binary", "only-binary"}  # what they choose, uv would choose otherwise


def pip_options(listed: str) -> dict[str, str]:
    """Option -> value, out of `pip config list`; as in pip, `install` goes before `global`, and the environment before both."""
    found = dict(re.findall(r"^([\w:]+\.[\w-]+)=(.+)$", listed, re.MULTILINE))
    return {
        name.rpartition(".")[2]: ast.literal_eval(value)
        for section in ("global.", "install.", ":env:.")
        for name, value in found.items()
        if name.startswith(section)
    }


def for_uv(options: dict[str, str]) -> dict[str, str]:
    """The environment variables that hand pip's options over to uv."""
    variables = {}
    for option, value in options.items():
        words = value.split()
        if option == "proxy" and "://" not in value:
            words = [f"http://{value}"]
        variables |= dict.fromkeys(HANDED_OVER.get(option, ()), ("," if option == "find-links" else " ").join(words))
    if "extra-index-url" in options:  # to pip, all indexes are one
        variables["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "cert" not in options:
        bundle = os.environ.get("REQUESTS_CA_BUNDLE")
        variables |= {"SSL_CERT_FILE": bundle} if bundle else {"UV_SYSTEM_CERTS": "1"}
    return variables


def by_uv(lock: Path) -> str:
    """Install uv, and all else by it. Returns why it did not work, without any address: there may be a password in it."""
    pinned = re.search(r"^uv==(?:.*\\\n)*.*", lock.read_text(), re.MULTILINE)
    if not pinned:
        return "it is not in the lock"
    options = pip_options(subprocess.run([*PIP, "config", "list"], capture_output=True, text=True).stdout)
    if chosen := sorted(PIPS_ALONE & options.keys()):
        return f"pip is told {' and '.join(chosen)}"
    with tempfile.NamedTemporaryFile("w", suffix=".lock") as alone:
        alone.write(pinned[0])
        alone.flush()
        if subprocess.run([*PIP, *EXACTLY, alone.name], capture_output=True).returncode:
            return "it could not be installed"
    its_own = {name: value for name, value in os.environ.items() if name.startswith("UV_")}  # goes before pip's
    environment = os.environ | for_uv(options) | its_own
    command = [sys.executable, "-m", "uv", "pip", *EXACTLY, str(lock), "--python", sys.executable]
    if sys.dont_write_bytecode:  # else it is written when a module is first imported, which is faster
        command.append("--compile-bytecode")
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    words = re.sub(r"\S+://\S+", "...", done.stderr or "no word").split()
    return f"uv: {' '.join(words)[:300]}" if done.returncode else ""


def main() -> int:
    """Install the lock that the command line names; pip's exit code."""
    lock = Path(sys.argv[1])
    if why := by_uv(lock):
        print(f"installing by pip, not by uv, in some minutes ({why})", file=sys.stderr)
    # pip has the last word in any case: it says what is left to install, and what a constraint on this machine forbids.
    return subprocess.run([*PIP, *EXACTLY, str(lock)]).returncode


if __name__ == "__main__":
    sys.exit(main())
