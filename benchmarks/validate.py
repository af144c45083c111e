"""How fast the data check is, how much a new shard costs, and how time and memory grow.

    python benchmarks/validate.py [--photos FOLDER] [--most 1000000] [--rival FOLDER]

Against CleanVision (all its checks, all processors) on the same picture files in the same run: Fashion-MNIST as 28x28 PNG files,
and photos, where a folder of them is named. Then on drawn pictures, ten times more each time. Wall time of whole commands,
start included, and memory of all their processes. CleanVision is installed into an environment of
its own (--rival), since Darkroom does not need it.
"""

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.pictures import encode

ROOT = Path(__file__).parent.parent
CLEANVISION = """
import sys
from cleanvision import Imagelab
if __name__ == "__main__":
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues(verbose=False)
    print(len(lab.issues))
"""


def command(*arguments: object, watch: bool = False) -> tuple[float, str]:
    """Wall seconds of a whole command and what it printed; where it is watched, GiB of its processes instead of seconds.

    A refused data set is a result too. Memory is what all processes together have for themselves and their part of what they
    share, at the most; to ask for it takes time from them.
    """
    started, most = time.monotonic(), 0
    with subprocess.Popen(list(map(str, arguments)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        watched = psutil.Process(process.pid)
        while watch and process.poll() is None:
            with contextlib.suppress(psutil.Error):
                most = max(most, sum(one.memory_full_info().pss for one in (watched, *watched.children(recursive=True))))
            time.sleep(0.2)
        told = process.communicate()[0]
    if process.returncode not in (0, 1):
        sys.exit(f"{arguments}: exit code {process.returncode}")
    return most / 2**30 if watch else time.monotonic() - started, told


def check(data: Path, scratch: Path, *, watch: bool = False) -> tuple[float, float]:
    """Measure and validate as `dvc repro` does: seconds of each, or GiB of each."""
    darkroom = [sys.executable, "-m", "components"]
    knobs = ["--params", ROOT / "params.yaml"]
    measure, _ = command(*darkroom, "measure", "--data", data, "--config", "measure", *knobs, "--manifest", scratch / "m",
                         watch=watch)  # fmt: skip
    validate, _ = command(*darkroom, "validate", "--manifest", scratch / "m", "--config", "validate", *knobs,
                          "--validation", scratch / "v", watch=watch)  # fmt: skip
    return measure, validate


def memory(data: Path, scratch: Path) -> float:
    """GiB at the most, everything measured anew."""
    (scratch / "anew").mkdir()
    return max(check(data, scratch / "anew", watch=True))


def against_the_rival(name: str, data: Path, scratch: Path, python: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "components", "export", data, scratch / "files"], check=True, stdout=subprocess.DEVNULL
    )
    count = sum(dataset.count(shard) for shard in dataset.shards(data))
    ours, again = sum(check(data, scratch)), sum(check(data, scratch))
    script = scratch / "rival.py"  # not by the name of what it imports
    script.write_text(CLEANVISION)
    seconds, told = command(python, script, scratch / "files")
    if int(told.split()[-1]) != count:
        sys.exit(f"CleanVision looked at {told.split()[-1]} of {count} pictures")
    rate, other = count / ours, count / seconds
    print(f"| {name} | {count:,} | {rate:,.0f}/s | {other:,.0f}/s | {rate / other:.1f} | {memory(data, scratch):.2f} GiB "
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


def growth(count: int, scratch: Path) -> None:
    data = scratch / "drawn"
    draw(data, count)
    measure, validate = check(data, scratch)
    most = memory(data, scratch)
    draw(scratch / "one", 8192, seed=1)
    (scratch / "one" / "00000.parquet").rename(data / "99999.parquet")
    new, _ = check(data, scratch)
    print(f"| {count:,} | {measure:.1f} s | {validate:.1f} s | {1e6 * (measure + validate) / count:.0f} us "
          f"| {most:.2f} GiB | {new:.1f} s |", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder per class of photos, as `darkroom ingest` takes it")
    parser.add_argument("--most", type=int, default=1_000_000, help="drawn pictures at the most")
    parser.add_argument("--pictures", type=int, default=70_000, help="of Fashion-MNIST, for both tools")
    parser.add_argument(
        "--rival", type=Path, default=Path(tempfile.gettempdir()) / "cleanvision", help="CleanVision's environment"
    )
    options = parser.parse_args()
    python = options.rival / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", options.rival], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "cleanvision"], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        print(
            "| pictures | how many | Darkroom | CleanVision | times as fast | memory | again, nothing new |\n|---|---|---|---|---|---|---|"
        )
        for name, source in (("Fashion-MNIST", "fashion-mnist"), ("photos", options.photos)):
            if source:
                folder = Path(scratch) / name
                folder.mkdir()
                subprocess.run(
                    [sys.executable, "-m", "components", "ingest", source, folder / "data"],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
                if name == "Fashion-MNIST":
                    for shard in dataset.shards(folder / "data")[-(-options.pictures // 8192) :]:
                        shard.unlink()
                against_the_rival(name, folder / "data", folder, python)
                shutil.rmtree(folder)
        print(
            "\n| drawn pictures | measure | validate | each | memory | measure with a shard (8,192) more |\n|---|---|---|---|---|---|"
        )
        for count in (10_000, 100_000, 1_000_000):
            if count <= options.most:
                folder = Path(scratch) / str(count)
                folder.mkdir()
                growth(count, folder)
                shutil.rmtree(folder)


if __name__ == "__main__":
    main()
