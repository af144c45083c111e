"""A stranger's first run, timed: clone the last commit into an empty folder, `make run`, `make run` again.

    python benchmarks/whole_run.py [--keep FOLDER]

Prints the wall time of both, the time of each training, and the closing table.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path

from cost import cost
from stages import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="clone to this new folder and leave it there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch) / "darkroom"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
        first, again = (cost("make", "run", cwd=folder, memory=None) for _ in range(2))
    told = first.printed
    print(told[told.rindex("\n", 0, told.index(" test samples  ")) :])
    print(f"fresh clone to registered model: {first.seconds:.0f} s; again: {again.seconds:.1f} s")
    print("training: " + "; ".join(re.findall(r"train \w+: best epoch .*", told)))


if __name__ == "__main__":
    main()
