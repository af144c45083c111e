"""How many pictures a second `predict` answers, beside a plain loop over Keras's `predict` and beside decoding alone.

    python benchmarks/predict.py [--photos FOLDER] [--package outputs/packages/cnn] [--model outputs/models/cnn/model.keras]
                                 [--others PYTHON]

Pictures of the size that the model takes are drawn (PNG), or those of a folder are taken. The loop does what batch prediction of other
libraries does: Pillow opens and resizes one after the other, and `model.predict` takes 256 together. `--others` asks Ultralytics' and
fastai's own beside it, of an environment that has both (`uv pip install ultralytics fastai`). All rates are without the start of the
process.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import measuring
import numpy as np
from PIL import Image
from tqdm import tqdm

from components.predict import lots
from components.shared import files, parallel, scratch
from components.shared.models import backend, keras_file, package
from components.shared.pictures.preprocessing import Preprocessing

BATCH = 256
OTHERS = Path(__file__).with_name("other_predict.py")


def draw(folder: Path, count: int, way: Preprocessing) -> None:
    """Different pictures of noise that is smooth, as photographs are."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in tqdm(range(count), desc="draw", disable=None):
        coarse = Image.fromarray(rng.integers(0, 256, (7, 7, way.channels), np.uint8).squeeze())
        coarse.resize((way.width, way.height), Image.Resampling.BILINEAR).save(folder / f"{index:07d}.png")


def decode(lot: lots.Lot, way: Preprocessing) -> int:
    """What `predict` does of a lot before the model is asked."""
    return len([way.sample([content for content, _ in sample.frames]) for sample in lots.encoded(lot)])


def loop(pictures: list[Path], model: Path, way: Preprocessing) -> float:
    """Seconds."""
    backend.start()
    network, begun = keras_file.load(model, sha256=files.digest(model)), 0.0
    for start in range(-BATCH, len(pictures), BATCH):  # the first batch, once more: the network is compiled by it
        begun = begun or (time.monotonic() if start >= 0 else 0.0)
        opened = (Image.open(file).convert("L" if way.channels == 1 else "RGB") for file in pictures[max(start, 0) :][:BATCH])
        pixels = [np.asarray(image.resize((way.width, way.height))).reshape(way.shape) for image in opened]
        network.predict(np.stack(pixels), batch_size=BATCH, verbose=0)
    return time.monotonic() - begun


def others(python: Path, where: Path, way: Preprocessing, home: Path) -> dict[str, float]:
    """Each in a process of its own, offline, as one's settings would be the other's; what they keep for a user is not kept."""
    rates, environment = {}, os.environ | {"HOME": str(home), "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"}
    for library in ("ultralytics", "fastai"):
        command = map(str, (python, "-I", OTHERS, library, where, way.width, way.channels))
        said = subprocess.run(list(command), capture_output=True, text=True, check=True, env=environment).stdout
        rates |= json.loads(said.splitlines()[-1])
    return rates


def main() -> None:
    given = measuring.arguments(
        __doc__,
        pictures={"type": int, "default": 50_000},
        photos={"type": Path},
        package={"type": Path, "default": Path("outputs/packages/cnn")},
        model={"type": Path, "default": Path("outputs/models/cnn/model.keras")},
        others={"type": Path, "metavar": "PYTHON"},
    )
    way = package.read(given.package).preprocessing
    with scratch.folder("benchmark") as folder:
        where = given.photos or folder / "drawn"
        if not given.photos:
            draw(where, given.pictures, way)
        pictures = sorted(path for path in where.rglob("*") if path.is_file())
        begun = time.monotonic()
        count = sum(parallel.in_order(decode, ((lot, way) for lot in lots.lots(lots.places([str(where)]), clips=False))))
        rates = {"decoding alone": count / (time.monotonic() - begun)}
        with scratch.folder("answers") as answers:
            command = [*measuring.PYTHON, "predict", given.package, where, "--output", answers / "answers.parquet"]
            said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True).stdout
        rates["`darkroom predict`"] = float(re.search(r"([\d,.]+) samples a second", said)[1].replace(",", ""))
        rates["loop of `model.predict`"] = len(pictures) / loop(pictures, given.model, way)
        rates |= others(given.others, where, way, folder) if given.others else {}
    print(f"{count:,} pictures, {measuring.processor()}\n\n| what | pictures/s |\n|---|---|")
    for name, rate in rates.items():
        print(f"| {name} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
