"""A stranger's first run, timed: clone the last commit into an empty folder, `make run`, `make run` again.

    python benchmarks/whole_run.py [--keep FOLDER]

Prints the wall time of both, the largest memory of any one process, the time of each stage, and the closing table.
"""

import argparse
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def make_run(folder: Path) -> tuple[float, str]:
    started = time.monotonic()
    done = subprocess.run(["make", "run"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(done.stdout)
    return time.monotonic() - started, done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="clone to this new folder and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "darkroom"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        first, told = make_run(folder)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        again, _ = make_run(folder)
        print(told[told.rindex("\n", 0, told.index(" test samples  ")) :])
        print(f"fresh clone to registered model: {first:.0f} s; again: {again:.1f} s; largest process: {peak:.2f} GiB")
        print("training: " + "; ".join(re.findall(r"train \w+: best epoch .*", told)))


if __name__ == "__main__":
    main()
