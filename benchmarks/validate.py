"""How fast the data check is, how much a new shard costs, and how time and memory grow.

    python benchmarks/validate.py [--photos FOLDER] [--drawn 10000 100000 1000000] [--classes 10]

Against CleanVision (all its checks, all processors) on the same picture files in the same run: Fashion-MNIST as 28x28 PNG files,
and photos, where a folder of them is named. Then on drawn pictures, ten times more each time, up to the arrays that training
reads. Wall time of whole commands, start included, and memory of all their processes. CleanVision is installed into an
environment of its own, since Darkroom does not need it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import measuring
import numpy as np
from scipy import ndimage

from components.shared import scratch
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.pictures import encode

CLEANVISION = """
import sys
from cleanvision import Imagelab
if __name__ == "__main__":
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues(verbose=False)
    looked, expected = len(lab.issues), int(sys.argv[2])
    sys.exit(f"CleanVision looked at {looked} of {expected} pictures" if looked != expected else 0)
"""


def check(folder: Path) -> tuple[measuring.Cost, measuring.Cost]:
    """Measure and validate as `dvc repro` does, embed being off. A refused data set is a result, too."""
    measured = measuring.darkroom(folder, *measuring.command("measure"))
    measuring.darkroom(folder, *measuring.command("embed"))
    return measured, measuring.darkroom(folder, *measuring.command("validate"), codes=(0, 1))


def against_the_rival(name: str, source: object, python: Path, folder: Path) -> None:
    measuring.set_knobs(folder)
    measuring.darkroom(folder, "ingest", source, "data")
    measuring.darkroom(folder, "export", "data", "files")
    count = sum(dataset.count(shard) for shard in dataset.shards(folder / "data"))
    costs = check(folder)
    ours, again = (sum(one.seconds for one in some) for some in (costs, check(folder)))
    script = folder / "rival.py"  # not by the name of what it imports
    script.write_text(CLEANVISION)
    rate, other = count / ours, count / measuring.cost(python, script, folder / "files", count).seconds
    print(f"| {name} | {count:,} | {rate:,.0f}/s | {other:,.0f}/s | {rate / other:.1f} | {max(one.memory for one in costs):.2f} GiB "
          f"| {again:.1f} s ({ours / again:.1f} times less) |", flush=True)  # fmt: skip


def draw(folder: Path, count: int, classes: int, seed: int = 0) -> None:
    """Shards of 28x28 grey pictures: smooth random ground, one of ten bars by class, noise."""
    folder.mkdir()
    for number, start in enumerate(range(0, count, 8192)):
        rng = np.random.default_rng([seed, number])
        size = min(8192, count - start)
        ground = ndimage.zoom(rng.uniform(0, 180, (size, 4, 4)), (1, 7, 7), order=1)
        pixels = ground + rng.integers(0, 20, (size, 28, 28))
        labels = rng.integers(0, classes, size)
        for bar in range(10):
            pixels[labels % 10 == bar, 2 + 2 * bar : 6 + 2 * bar, 4:24] += 55
        frames = [encode.encode_png(picture) for picture in pixels.astype(np.uint8)]
        samples = [Sample(f"class {label}", f"class {label}/{start + index:08d}.png", ((frame, f"class {label}/{start + index:08d}.png"),))
                   for index, (label, frame) in enumerate(zip(labels, frames, strict=True))]  # fmt: skip
        dataset.write_shard(samples, folder / f"{number:05d}.parquet")


def growth(count: int, classes: int, folder: Path) -> None:
    measuring.set_knobs(folder)
    draw(folder / "data", count, classes)
    costs = [*check(folder), measuring.darkroom(folder, *measuring.command("prepare"))]
    draw(folder / "one", 8192, classes, seed=1)
    (folder / "one" / "00000.parquet").rename(folder / "data" / "99999.parquet")
    new, _ = check(folder)
    cells = " | ".join(f"{one.seconds:.1f} s | {one.memory:.2f} GiB" for one in costs)
    print(f"| {count:,} | {classes:,} | {cells} | {new.seconds:.1f} s |", flush=True)


def main() -> None:
    options = measuring.arguments(
        __doc__,
        photos={"type": Path, "help": "a folder per class of photos, for `darkroom ingest`"},
        drawn={"type": int, "nargs": "+", "default": [10_000, 100_000, 1_000_000], "help": "pictures"},
        classes={"type": int, "default": 10, "help": "of the drawn pictures"},
    )
    python = Path(tempfile.gettempdir()) / "cleanvision/bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", python.parent.parent], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "cleanvision"], check=True)
    print("| pictures | how many | Darkroom | CleanVision | times as fast | memory | again, nothing new |\n|" + "---|" * 7)
    for name, source in (("Fashion-MNIST", "fashion-mnist"), ("photos", options.photos and options.photos.absolute())):
        if source:
            with scratch.folder("benchmark") as folder:
                against_the_rival(name, source, python, folder)
    print("\n| drawn pictures | classes | measure | memory | validate | memory | prepare | memory "
          "| measure with a shard (8,192) more |\n|" + "---|" * 9)  # fmt: skip
    for count in options.drawn:
        with scratch.folder("benchmark") as folder:
            growth(count, options.classes, folder)


if __name__ == "__main__":
    main()
