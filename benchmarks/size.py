"""How time and memory grow with rows and classes: the data check, the plan of the arrays, and the tables of an evaluation.

    python benchmarks/size.py [--rows 100000 1000000] [--classes 10 10000] [--test 20000]

Manifests are drawn without any picture (benchmarks/drawn_manifest.py). For every pair of rows and classes: wall time (and
time of processors) of `darkroom validate`, of what `prepare` does before it decodes, and of scores, tables and charts of --test
predictions; memory of all their processes at the most. Time should grow with the rows, memory hardly: read a column downwards.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import drawn_manifest
import numpy as np
from cost import cost

ROOT = Path(__file__).parent.parent


def decisions(folder: Path) -> None:
    """All that `prepare` does before it decodes: the split, each sample's place, labels, leakage counted anew."""
    from components.prepare import plan
    from components.prepare.config import PrepareConfig
    from components.shared import config

    (folder / "plan").mkdir()
    plan.make(manifest=folder / "manifest", verdict=folder / "validation/summary.json", pairs=folder / "validation/pairs.parquet",
              config=PrepareConfig(**config.read_params(ROOT / "params.yaml")["prepare"]), folder=folder / "plan")  # fmt: skip


def evaluation(folder: Path, test: int, classes: int) -> None:
    """Scores, tables and charts of drawn predictions: a third are right, a third are off by one."""
    from components.evaluate import charts, tables
    from components.shared.models.scores import scores

    rng, names = np.random.default_rng(0), [f"class {number:05d}" for number in range(classes)]
    labels = np.arange(test) % classes
    probabilities = rng.random((test, classes), dtype=np.float32)
    probabilities[np.arange(test), (labels + np.arange(test) % 3) % classes] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    scores(labels, probabilities)
    curves, areas = tables.curves(labels, probabilities, names)
    tables.per_class(labels, predicted, names, areas)
    sum(1 for _ in tables.predictions(map(str, range(test)), labels, probabilities, names))
    charts.confusion(labels, predicted, names, folder / "confusion.png")
    charts.curves(curves, names, areas, folder)


def measured(*command: object) -> str:
    """Two cells of the table."""
    return cost(sys.executable, *command).cells()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--classes", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--test", type=int, default=20_000, help="predictions of the evaluation; times classes times 4 bytes")
    parser.add_argument("--part", nargs=2, metavar=("STEP", "FOLDER"), help="of one measurement, in a process of its own")
    options = parser.parse_args()
    if options.part:
        step, folder = options.part
        decisions(Path(folder)) if step == "plan" else evaluation(Path(folder), options.test, options.classes[0])
        return
    print("| rows | classes | validate | memory | prepare's plan | memory | evaluate's tables | memory |\n|" + "---|" * 8)
    for classes in options.classes:
        for rows in options.rows:
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch)
                drawn_manifest.draw(folder / "manifest", rows, classes)
                validate = measured("-m", "components", "validate", "--manifest", folder / "manifest", "--config", "validate",
                                    "--params", ROOT / "params.yaml", "--validation", folder / "validation")  # fmt: skip
                decided = measured(__file__, "--part", "plan", folder)
                tables = measured(__file__, "--part", "tables", folder, "--classes", classes, "--test", options.test)
                print(f"| {rows:,} | {classes:,} | {validate} | {decided} | {tables} |", flush=True)


if __name__ == "__main__":
    main()
