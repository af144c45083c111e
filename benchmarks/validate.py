"""How fast the data check is, how much a new shard costs, and how time and memory grow.

    python benchmarks/validate.py [--photos FOLDER]

Against CleanVision (all its checks, all processors) on the same picture files in the same run: Fashion-MNIST as 28x28 PNG files,
and photos, where a folder of them is named. Then on drawn pictures, ten times more each time. Wall time of whole commands,
start included, and memory of all their processes. CleanVision is installed into an environment of its own, since Darkroom does
not need it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from cost import cost, of_all
from stages import ROOT, arguments, command, darkroom

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
    print(len(lab.issues))
"""


def check(data: Path, folder: Path, memory=None) -> tuple[float, float]:
    """Measure and validate as `dvc repro` does: seconds of each, or GiB of each. A refused data set is a result, too."""
    knobs = ("--params", ROOT / "params.yaml")
    measure = command("measure", data=data, manifest=folder / "m")
    validate = command("validate", manifest=folder / "m", validation=folder / "v")
    costs = [cost(sys.executable, "-m", "components", *one, *knobs, memory=memory, codes=(0, 1)) for one in (measure, validate)]
    return tuple(one.memory if memory else one.seconds for one in costs)


def memory(data: Path, folder: Path) -> float:
    """GiB at the most, everything measured anew."""
    (folder / "anew").mkdir()
    return max(check(data, folder / "anew", of_all))


def against_the_rival(name: str, source: object, python: Path, folder: Path) -> None:
    data, script = folder / "data", folder / "rival.py"  # not by the name of what it imports
    darkroom(Path(), "ingest", source, data)
    darkroom(folder, "export", data, folder / "files")
    count = sum(dataset.count(shard) for shard in dataset.shards(data))
    ours, again = sum(check(data, folder)), sum(check(data, folder))
    script.write_text(CLEANVISION)
    theirs = cost(python, script, folder / "files", memory=None)
    if (looked := int(theirs.printed.split()[-1])) != count:
        sys.exit(f"CleanVision looked at {looked} of {count} pictures")
    rate, other = count / ours, count / theirs.seconds
    print(f"| {name} | {count:,} | {rate:,.0f}/s | {other:,.0f}/s | {rate / other:.1f} | {memory(data, folder):.2f} GiB "
          f"| {again:.1f} s ({ours / again:.1f} times less) |", flush=True)  # fmt: skip


def draw(folder: Path, count: int, seed: int = 0) -> None:
    """Shards of 28x28 grey pictures in ten classes: smooth random ground, a bar that tells the class, noise."""
    folder.mkdir()
    ramp = np.linspace(0, 3, 28)
    low = np.minimum(ramp.astype(int), 2)
    mix = np.zeros((28, 4))
    mix[np.arange(28), low], mix[np.arange(28), low + 1] = 1 - (ramp - low), ramp - low
    for number, start in enumerate(range(0, count, 8192)):
        rng = np.random.default_rng([seed, number])
        size = min(8192, count - start)
        pixels = mix @ rng.integers(0, 180, (size, 4, 4)) @ mix.T + rng.integers(0, 20, (size, 28, 28))
        labels = rng.integers(0, 10, size)
        for label in range(10):
            pixels[labels == label, 2 + 2 * label : 6 + 2 * label, 4:24] += 55
        frames = [encode.encode_png(picture) for picture in pixels.astype(np.uint8)]
        samples = [Sample(f"class {label}", f"class {label}/{start + index:08d}.png", ((frame, f"class {label}/{start + index:08d}.png"),))
                   for index, (label, frame) in enumerate(zip(labels, frames, strict=True))]  # fmt: skip
        dataset.write_shard(samples, folder / f"{number:05d}.parquet")


def growth(count: int, folder: Path) -> None:
    data = folder / "drawn"
    draw(data, count)
    measure, validate = check(data, folder)
    most = memory(data, folder)
    draw(folder / "one", 8192, seed=1)
    (folder / "one" / "00000.parquet").rename(data / "99999.parquet")
    new, _ = check(data, folder)
    print(f"| {count:,} | {measure:.1f} s | {validate:.1f} s | {1e6 * (measure + validate) / count:.0f} us "
          f"| {most:.2f} GiB | {new:.1f} s |", flush=True)  # fmt: skip


def main() -> None:
    photos = arguments(
        __doc__, {"--photos": {"type": Path, "help": "a folder per class of photos, for `darkroom ingest`"}}
    ).photos
    rival = Path(tempfile.gettempdir()) / "cleanvision"
    python = rival / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", rival], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "cleanvision"], check=True)
    print("| pictures | how many | Darkroom | CleanVision | times as fast | memory | again, nothing new |\n|" + "---|" * 7)
    for name, source in (("Fashion-MNIST", "fashion-mnist"), ("photos", photos)):
        if source:
            with scratch.folder("benchmark") as folder:
                against_the_rival(name, source, python, folder)
    print("\n| drawn pictures | measure | validate | each | memory | measure with a shard (8,192) more |\n|" + "---|" * 6)
    for count in (10_000, 100_000, 1_000_000):
        with scratch.folder("benchmark") as folder:
            growth(count, folder)


if __name__ == "__main__":
    main()
