"""The first process of a container: `python -m pipelines.first_process COMMAND...` runs a command as a child that signals reach."""

import os
import signal
import subprocess
import sys


def main(*command: str) -> int:
    """Run a command to its end; its exit code, as a shell says it. SIGTERM and SIGINT, for which a first process has no default, end it."""
    os.umask(0)  # whoever owns the mounted folders can delete what is written there by another user
    process = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: process.terminate())
    code = process.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
