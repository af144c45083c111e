"""What vectors of a pretrained network cost, and how often what lies nearest has the same label.

    python benchmarks/embeddings.py --photos FOLDER [--sides 224 160]

FOLDER is what `darkroom ingest` takes. Cost is of the whole command, with index, map and clusters. A sample's nearest neighbour is any
other sample of the data, whatever its split: nothing learns from a label here.
"""

from pathlib import Path

import measuring
import numpy as np

from components.shared import scratch
from components.shared.data import embeddings


def main() -> None:
    given = measuring.arguments(
        __doc__, photos={"type": Path, "required": True}, sides={"type": int, "nargs": "+", "default": [224, 160]}
    )
    print("| side | pictures | seconds | pictures/s | memory | nearest has the same label |\n|---|---|---|---|---|---|")
    for side in given.sides:
        with scratch.folder("benchmark") as folder:
            measuring.set_knobs(folder, {"embed": {"network": "efficientnet-lite0", "side": side}})
            measuring.darkroom(folder, "ingest", given.photos.absolute(), "data")
            measuring.darkroom(folder, *measuring.command("measure"))
            cost = measuring.darkroom(folder, *measuring.command("embed"))
            found = embeddings.read(folder / "outputs/embeddings")
            labels = found.table["label"].to_numpy()
            rows, _ = found.nearest(found.vectors, 2)
            # The first is the sample itself, but for pictures that are there twice.
            other = np.where(rows[:, 0] == np.arange(len(rows)), rows[:, 1], rows[:, 0])
            same = (labels[other] == labels).mean()
        count = len(labels)
        print(f"| {side} | {count:,} | {cost.seconds:.0f} | {count / cost.seconds:.0f} | {cost.memory:.1f} GiB | {same:.1%} |")


if __name__ == "__main__":
    main()
