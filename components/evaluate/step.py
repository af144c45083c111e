"""A trained model on the test split, once: metrics, tables, plots, the worst mistakes, what it costs."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow.parquet as pq

from components.evaluate.config import EvaluateConfig
from components.shared import destination, files, screen
from components.shared.data import arrays, seen
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend, intervals, keras_file
from components.shared.models import package as packages
from components.shared.runs import tracking

SPLIT = "split.json"  # of prepare
HEADLINE = (("acc", "accuracy"), ("worst", "worst_class_recall"))  # short: a table of experiments is 120 columns wide


def evaluate(
    *,
    model: Annotated[Path, "what train wrote"],
    package: Annotated[Path, "what package made of it"],
    prepared: Annotated[Path, "what prepare wrote: the test split"],
    config: EvaluateConfig,
    evaluation: Annotated[Path, "folder for metrics.json, cost.json, tables and plots"],
) -> None:
    """Score the model. `metrics.json` repeats byte for byte; what depends on the machine stands in `cost.json`.

    Raises CannotRun for a model of other classes or of another size, or another's package. One of other data is scored, and told.
    """
    from components.evaluate import charts, tables
    from components.evaluate.cost import cost
    from components.evaluate.slices import FEW, describe, slices, worse
    from components.shared.models.scores import calibration, calibration_error, losses, scores

    destination.check_folder(evaluation, kind="evaluation", inputs=[model, package, prepared])
    record = files.read_json(
        model / "run.json", "name", "classes", "shape", "model", "data_digest", "knobs", "temperature", "mirrored", "tags"
    )
    layout = arrays.Layout.read(prepared)
    _refuse_other(model, record, prepared, layout)
    packed = packages.read(package)
    if packed.facts["training_id"] != record["training_id"]:
        raise CannotRun(f"{package}: was made of another model than {model}; `dvc repro package` makes it anew")
    test = arrays.load(prepared / "test", layout)
    learnt = int((~seen.unseen(test.table(), seen.read(model / seen.FILE))).sum())
    trained = arrays.Layout(record["classes"], tuple(record["shape"]), record["data_digest"], record["knobs"])
    if what := layout.difference(trained):
        print(f"evaluate: {model} was trained from other {what} than {prepared}")
    if learnt:
        print(f"evaluate: {model} has learnt from {learnt:,} of the {len(test):,} test samples, by their picture or their group; "
              "they flatter it")  # fmt: skip
    network = keras_file.load(model / keras_file.FILE, sha256=record["model"]["sha256"])
    probabilities, uncalibrated = _answers(network, record, test)
    if not np.isfinite(probabilities).all():
        raise Refused(f"{model}: says no finite numbers of some test samples; `dvc repro -f train` trains it anew")
    labels, predicted, classes = test.labels, probabilities.argmax(1), layout.classes
    shown = record["name"].partition("-")[0].upper()  # in titles
    bins, rows, confidence = config.calibration_bins, test.table(), probabilities.max(1)
    hit, sets = predicted == labels, packed.calibration.sets(probabilities)
    covered, answered = sets[np.arange(len(labels)), labels], confidence >= packed.calibration.answer_floor
    result = scores(labels, probabilities, bins=bins) | {
        "coverage": float(covered.mean()),
        "set_size": float(sets.sum(1).mean()),
        "accuracy_answered": float(hit[answered].mean()) if answered.any() else 0.0,
        "answered": float(answered.mean()),
        "uncalibrated_error": calibration_error(labels, uncalibrated, bins=bins),
    }
    units = intervals.units(rows)
    sure = intervals.intervals(labels, predicted, len(classes), units=units)
    sure |= intervals.of_confidence(hit, confidence, losses(labels, probabilities), covered, bins=bins, units=units)
    if layout.is_clip:
        rng = np.random.default_rng(0)  # part of the measure, not of an experiment: no knob
        mixed = keras_file.predict(network, test.images, name="shuffled frames", change=lambda clips: shuffled(clips, rng))
        # A model that is as good on shuffled frames does not use the order of time.
        result["shuffled_frames_accuracy"] = float((mixed.argmax(1) == labels).mean())
    with files.whole_folder(evaluation, kind="evaluation") as fresh:
        files.write_json(fresh / "metrics.json", result)
        files.write_json(
            fresh / "headline.json", {record["tags"]["architecture"]: {name: result[key] for name, key in HEADLINE}}
        )
        files.write_json(fresh / "intervals.json", sure)
        pq.write_table(tables.samples(rows, labels, probabilities, classes), fresh / "samples.parquet", compression="zstd")
        found, few = slices(describe(test), hit, units)
        files.write_csv(fresh / "slices.csv", found)
        pairs = tables.confused(labels, predicted)
        files.write_csv(fresh / "pairs.csv", ({"true": classes[a], "predicted": classes[b], "count": n} for a, b, n in pairs))
        charts.pairs(shown, test, predicted, classes, pairs, fresh / "pairs.png")
        reliability = calibration(labels, probabilities, bins=bins)
        curves, areas, precisions = tables.curves(labels, probabilities, classes)
        files.write_csv(fresh / "classes.csv", tables.per_class(labels, predicted, classes, areas))
        every = zip(labels, predicted, strict=True)
        files.write_csv(fresh / "confusion.csv", ({"true": classes[a], "predicted": classes[b]} for a, b in every))
        files.write_csv(fresh / "calibration.csv", reliability)
        files.write_csv(fresh / "roc.csv", curves["roc"])
        files.write_csv(fresh / "pr.csv", curves["pr"])
        charts.confusion(shown, labels, predicted, classes, fresh / "confusion.png")
        charts.reliability(shown, reliability, result["expected_calibration_error"], fresh / "reliability.png")
        charts.curves(shown, curves, areas, precisions, fresh)
        _mistakes(shown, network, test, probabilities, classes, config, fresh)
        files.write_json(fresh / "cost.json", cost(network, model, package, record, test))
        facts = {"digest": test.content_digest(), "training_id": record["training_id"], "learnt_from": learnt}
        files.write_json(fresh / "test.json", facts | {"knobs": config.model_dump()})
        if (prepared / SPLIT).exists():  # how the samples were split, and how many have a twin on another side
            files.write_json(fresh / SPLIT, files.read_json(prepared / SPLIT))
    tracking.try_to(tracking.send_evaluation, model, evaluation)
    print(f"evaluate {record['name']}: accuracy {result['accuracy']:.4f}, balanced {result['balanced_accuracy']:.4f}, "
          f"worst class {result['worst_class_recall']:.4f} on {result['samples']:,} test samples")  # fmt: skip
    bad = [f"{row['column']} {row['value'][:60]} ({row['accuracy']:.1%})" for row in found if worse(row)]
    print(f"evaluate {record['name']}: {screen.number(len(found), 'slice')} looked at, {few:,} of fewer than {FEW} samples left out; "
          f"worse than the rest beyond chance: {', '.join(bad[:3]) or 'none'}"
          f"{f' and {len(bad) - 3:,} more' if len(bad) > 3 else ''}")  # fmt: skip


def _refuse_other(model: Path, record: dict, prepared: Path, layout: arrays.Layout) -> None:
    """Raise CannotRun for a model of other classes, or in another order: every table would have wrong names."""
    ours, theirs = layout.classes, record["classes"]
    if theirs != ours:
        differing = sorted(set(ours) ^ set(theirs))[:5] or "their order"
        raise CannotRun(f"{model}: recognises {len(theirs):,} classes, expected the {len(ours):,} of {prepared} (they differ in "
                        f"{differing}); `dvc repro` trains it anew")  # fmt: skip
    if tuple(record["shape"]) != layout.shape:
        took, expected = ("x".join(map(str, shape)) for shape in (record["shape"], layout.shape))
        raise CannotRun(f"{model}: takes arrays of {took}, expected the {expected} of {prepared}; `dvc repro` trains it anew")


def _answers(network, record: dict, test: arrays.Split) -> tuple[np.ndarray, np.ndarray]:
    """What the network says, and what it would say without its temperature, by which train has divided the weights of its last layer.

    In one pass: all but that layer is the same.
    """
    if record["temperature"] == 1:
        return (keras_file.predict(network, test.images, name="evaluate"),) * 2
    _, keras = backend.start()
    side = network.get_layer(network.name) if record["mirrored"] else network
    logits, last = side.get_layer("logits"), side.layers[-1]
    plain = type(logits).from_config(logits.get_config() | {"name": "uncalibrated"})
    both = keras.Model(side.input, keras.layers.Concatenate()([side.output, last(plain(logits.input))]))
    plain.set_weights([weight * record["temperature"] for weight in logits.get_weights()])
    if record["mirrored"]:
        mirrored = both(keras.ops.flip(side.input, axis=-2))
        both = keras.Model(side.input, keras.layers.Average()([both.output, mirrored]))
    said, raw = np.split(keras_file.predict(both, test.images, name="evaluate"), 2, axis=1)
    return np.ascontiguousarray(said), np.ascontiguousarray(raw)


def shuffled(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clips, uint8 (n, time, h, w, c), with the frames of each in random order; padding (frames of zeros) stays where it is."""
    mixed = clips.copy()
    for clip, frames in zip(clips, mixed, strict=True):
        shown = np.flatnonzero(clip.any(axis=(1, 2, 3)))
        frames[shown] = clip[rng.permutation(shown)]
    return mixed


def _mistakes(
    model: str, network, test: arrays.Split, probabilities: np.ndarray, classes: list[str], config: EvaluateConfig, folder: Path
) -> None:
    from components.evaluate import charts, explain

    predicted, confidence = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(predicted != test.labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][: config.gallery]
    sources = test.table()["source"].take(surest).to_pylist()
    told = [(classes[test.labels[i]], classes[predicted[i]], confidence[i], of) for i, of in zip(surest, sources, strict=True)]
    title = f"{model}: {len(wrong):,} of {len(test):,} wrong"
    title += f"; the {len(surest):,} that it was surest of" if len(surest) < len(wrong) else ""
    charts.gallery(title, test.images[surest], told, folder / "mistakes.png")
    if config.explained:
        explain.explain(model, network, test, probabilities, classes, config.explained, folder)
