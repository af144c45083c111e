"""A stranger's first run, timed: clone the last commit into an empty folder, `make run`, `make run` again.

    python benchmarks/whole_run.py

Prints the wall time of both, the time of each training, and the closing table.
"""

import re
import subprocess

from cost import cost
from stages import ROOT, arguments

from components.shared import scratch


def main() -> None:
    arguments(__doc__)
    with scratch.folder("benchmark") as folder:
        subprocess.run(["git", "clone", "--quiet", ROOT, folder / "darkroom"], check=True)
        first, again = (cost("make", "run", cwd=folder / "darkroom", memory=None) for _ in range(2))
    told = first.printed
    print(told[told.rindex("\n", 0, told.index(" test samples  ")) :])
    print(f"fresh clone to registered model: {first.seconds:.0f} s; again: {again.seconds:.1f} s")
    print("training: " + "; ".join(re.findall(r"train \w+: best epoch .*", told)))


if __name__ == "__main__":
    main()
