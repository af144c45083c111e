"""Packaged models on damaged test samples: how much accuracy each damage costs, at five strengths."""

import functools
from pathlib import Path
from typing import Annotated

import numpy as np

from components.shared import destination, files, parallel
from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.models.package import Package
from components.shared.models.recogniser import Recogniser
from components.stress.config import StressConfig

STRENGTHS = range(1, 6)
BYTES, SAMPLES = 2**22, 128  # of samples that are damaged at once, at most: they stay in the processor's cache


def stress(
    *,
    packages: Annotated[list[Path], "what package wrote, one of each architecture"],
    prepared: Annotated[Path, "what prepare wrote: the test split"],
    config: StressConfig,
    stress: Annotated[Path, "folder for stress.json, curves.png and damages.png of each architecture"],
) -> None:
    """Ask each model about the same damaged samples. Raises CannotRun for a package of other classes, data or another shape."""
    from components.stress import drawings
    from components.stress.clip_damages import of_samples

    destination.check_folder(stress, kind="stress", inputs=[*packages, prepared])
    layout = arrays.Layout.read(prepared)
    models = _by_architecture(packages, prepared, layout)
    test = arrays.load(prepared / "test", layout)
    rows, digest = chosen(test.labels, config.samples), test.content_digest()
    labels, damages = test.labels[rows], of_samples(clips=layout.is_clip)
    few = max(1, min(SAMPLES, BYTES // int(np.prod(layout.shape))))
    parts = np.split(rows, range(few, len(rows), few))
    work = [(test.folder, part, [(each.folder, each.digest) for each in models.values()]) for part in parts]
    found = dict(parallel.each(ask, work, weights=[len(part) for part in parts], name="stress"))
    predicted = np.concatenate([found[index] for index in range(len(parts))], axis=2)
    with files.whole_folder(stress, kind="stress") as fresh:
        for (architecture, model), answers in zip(models.items(), predicted, strict=True):
            clean, *scores = [_score(labels, row) for row in answers]
            told = {}
            for name, damage in damages.items():
                of_damage, scores = scores[: len(STRENGTHS)], scores[len(STRENGTHS) :]
                trained_on = bool(model.facts.get("augment", {}).get(damage.knob))
                told[name] = {key: [score[key] for score in of_damage] for key in clean} | {"trained_on": trained_on}
            outcome = _outcome(clean["accuracy"], told, len(rows)) | {"package": model.digest, "test_digest": digest}
            (fresh / architecture).mkdir()
            files.write_json(fresh / architecture / "stress.json", outcome)
            worst, shown = outcome["worst"], architecture.upper()
            drawings.curves(shown, clean, told, worst, fresh / architecture / "curves.png")
            drawings.damages(test.images[rows[0]], told, fresh / architecture / "damages.png")
            print(f"stress {architecture}: mean corruption error {outcome['mean_corruption_error']:.4f}, {outcome['relative']:+.4f} "
                  f"against {len(rows):,} undamaged test samples; worst: {worst['damage']} {worst['strength']}, accuracy "
                  f"{worst['accuracy']:.4f}")  # fmt: skip


def _by_architecture(folders: list[Path], prepared: Path, layout: arrays.Layout) -> dict[str, Package]:
    found: dict[str, Package] = {}
    for folder in folders:
        read = package.read(folder)
        learnt = arrays.Layout(read.classes, read.preprocessing.shape, read.facts.get("data_digest", layout.data_digest))
        if what := layout.difference(learnt):
            raise CannotRun(f"{folder}: its model is of other {what} than {prepared}; `dvc repro` brings them together")
        architecture = files.as_folder(read.name.partition("-")[0])
        if architecture in found:
            raise CannotRun(f"{folder}: is a second package of {architecture}; expected one of each architecture")
        found[architecture] = read
    return found


def chosen(labels: np.ndarray, count: int) -> np.ndarray:
    """Which samples are damaged, in order: of each class its share of `count`, of as many classes as there is room for; all for 0.

    Drawn without a knob.
    """
    if not 0 < count < len(labels):
        return np.arange(len(labels))
    order = np.random.default_rng(0).permutation(len(labels))
    taken = [
        of[: max(1, round(len(of) * count / len(labels)))] for of in (order[labels[order] == k] for k in np.unique(labels))
    ]
    turn = np.concatenate([np.arange(len(each)) for each in taken])  # the first of each class, then the second ...
    return np.sort(np.concatenate(taken)[np.argsort(turn, kind="stable")[:count]])


def ask(split: Path, rows: np.ndarray, models: list[tuple[Path, str]]) -> np.ndarray:
    """The classes that each model sees in these samples: int (models, 1 + damages x strengths, rows), undamaged first."""
    from components.stress.clip_damages import damaged, of_samples

    samples = arrays.load(split).images[rows]
    damages = [(name, strength) for name in of_samples(clips=samples.ndim == 5) for strength in STRENGTHS]
    seen = [samples, *(damaged(samples, name, strength) for name, strength in damages)]
    return np.array([[_loaded(*model).probabilities(some).argmax(1) for some in seen] for model in models])


@functools.cache
def _loaded(folder: Path, digest: str) -> Recogniser:
    return Recogniser(package.read(folder, digest=digest))


def _score(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    counts, right = np.bincount(labels), np.bincount(labels[labels == predicted], minlength=labels.max() + 1)
    recalls = right[counts > 0] / counts[counts > 0]
    return {"accuracy": float((labels == predicted).mean()), "worst_class_recall": float(recalls.min())}


def _outcome(clean: float, told: dict[str, dict], samples: int) -> dict:
    """The error of all damages and strengths alike, and how much of it is due to them.

    As Hendrycks and Dietterich, 2019, but not divided by the error of another network: there is none that knows these classes.
    """
    accuracies = np.array([each["accuracy"] for each in told.values()])
    damage, strength = np.unravel_index(accuracies.argmin(), accuracies.shape)
    worst = {"damage": list(told)[damage], "strength": int(strength) + 1, "accuracy": float(accuracies.min())}
    error = float(1 - accuracies.mean())
    return {
        "mean_corruption_error": error,
        "relative": error - (1 - clean),
        "samples": samples,
        "worst": worst,
        "damages": told,
    }
