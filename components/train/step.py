"""The augmented images -> a trained model: `model.keras`, its history and learning curves, and the record of its run."""

import functools
import hashlib
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import yaml

from components.shared import config as configs
from components.shared import destination, files, plots, screen
from components.shared.data import arrays, seen
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend, keras_file
from components.shared.runs import origin, tracking
from components.train import calibration, halves
from components.train.backbone import FOLDER, USED_BY, find
from components.train.checkpoint import Checkpoints
from components.train.config import TrainConfig
from components.train.termination import Stop, stoppable

FEW = 300  # batches, fewer of which hardly teach a network anything


def train(
    *,
    augmented: Annotated[Path, "what augment wrote: the training split"],
    prepared: Annotated[Path, "what prepare wrote: validation split and class list"],
    config: TrainConfig,
    seed: Annotated[int, "seed of weights, order and dropout"],
    model: Annotated[Path, "folder for the model"],
    backbones: Annotated[Path, "what `darkroom backbone` keeps"] = FOLDER,
) -> None:
    """Fit one architecture on the augmented images; save the best model and the record of the run that made it.

    Killed, it goes on from its last checkpoint when it is called again with the same inputs. The test split is not read.
    """
    destination.check_folder(model, kind="model", inputs=[augmented, prepared])
    # From here on the place is ours: a second training of the same model is told so at once.
    with stoppable() as stop:
        with files.whole_folder(model, kind="model") as fresh:
            checkpoints, summary = _fit(augmented, prepared, backbones, config, seed, model, fresh, stop)
            checkpoints.keep_finished(fresh)
        tracking.try_to(tracking.send_training, model)
        checkpoints.clear()
    print(summary)


def _fit(
    augmented: Path, prepared: Path, backbones: Path, config: TrainConfig, seed: int, model: Path, fresh: Path, stop: Stop
) -> tuple[Checkpoints, str]:
    """Write into the folder `fresh` what will lie in `model`. Returns the checkpoints, and what to say in the end."""
    tf, keras = backend.start(seed, groups=halves.groups(config))
    from components.shared.models.scores import scores
    from components.train import presets, transfer, trial
    from components.train.loop import Loop
    from components.train.precision import choose

    layout, varied = arrays.Layout.read(prepared), arrays.Layout.read(augmented)
    if what := layout.difference(varied):
        raise CannotRun(f"train: {augmented} was made from another {prepared} (other {what}); `dvc repro` brings them together")
    training, validation = arrays.load(augmented, layout), arrays.load(prepared / "validation", layout)

    def builder(preset: str) -> Callable:
        return functools.partial(
            presets.network, config.architecture, preset, layout.shape, len(layout.classes), dropout=config.dropout,
            **{"backbone": own} if preset == "pretrained" else {},
        )  # fmt: skip

    onednn = backend.has_onednn()
    # All that decides the result, and nothing else of the machine: another pod goes on from these checkpoints.
    inputs = [config.model_dump_json(), seed, training.digest(), validation.digest(), layout.classes, keras.__version__, onednn]
    inputs += [files.digest(file) for file in sorted(Path(__file__).parent.rglob("*.py"))]
    checkpoints = Checkpoints(model, hashlib.sha256(json.dumps(inputs).encode()).hexdigest())
    if checkpoints.finished(fresh):
        return (
            checkpoints,
            f"train {config.architecture}: is written out as an earlier pod of this pipeline run had finished it",
        )
    own = find(config.backbone, backbones, checkpoints.folder) if config.preset in USED_BY else None
    once, knobs = checkpoints.once, config.model_dump()
    training_id = once("training_id", lambda: uuid.uuid4().hex)
    tried = {"precision": once("precision", lambda: choose(config, builder(trial.first(config)))), "seed": seed}
    if config.preset == "auto":
        preset = once("preset", lambda: trial.choose(config, builder, training, validation, **tried, stop=stop))
        config = trial.rest(config, preset)
    build = builder(config.preset)
    # Anew: Keras draws its seeds from Python's generator, and so does whoever asked the store again when it did not answer.
    keras.utils.set_random_seed(seed)
    part = transfer.part(build, training, validation, config, checkpoints.folder, **tried, once=once)
    network = part.network
    print(f"train {config.architecture} ({config.preset}): {network.count_params():,} parameters, {len(part.training):,} samples, "
          f"{len(layout.classes)} classes, {tried['precision']}")  # fmt: skip

    every = {**_data_knobs(), **varied.knobs, "train": knobs, "seed": seed}
    origin_tags, diff = origin.tags()
    record = {
        "training_id": training_id,
        "name": f"{config.architecture}-{config.preset}",
        "run_name": origin.run_name(every, config.architecture),
        "knobs": every,
        "parameters": network.count_params(),
        "training_samples": len(part.training),
        "tags": {
            "architecture": config.architecture,
            "precision": tried["precision"],
            "onednn": "on" if onednn else "off",
            "data_digest": layout.data_digest,
            "recipe": origin.recipe(every, layout.data_digest),
            "begun_from": config.backbone if config.preset == "pretrained" else "nothing",
            **origin_tags,
        },
        "data_digest": layout.data_digest,
        "shape": list(layout.shape),
        "classes": layout.classes,
        "preprocessing": layout.preprocessing,
    }
    with tracking.live(record, given_up=checkpoints.given_up) as follower:
        stop.last = follower.kill
        loop = Loop(tf, keras, part, config, seed, checkpoints)
        if loop.progress.steps < FEW and not config.budget_minutes:
            steps = screen.number(loop.progress.steps, "batch is", "batches are")
            print(f"train: {steps} few to learn from; more epochs, smaller batches, or budget_minutes")
        progress = loop.run(lambda _, row: follower.epoch(row), stop.told)
    # Saved in float32 whatever it was trained in: it then runs the same, and as fast, on machines without bfloat16.
    plain = build()
    plain.set_weights(network.get_weights())
    record["temperature"], record["mirrored"], probabilities = _calibrate(keras, plain, validation, config)
    whole = _both_sides(keras, plain) if record["mirrored"] else plain
    if not (keras_file.is_finite(whole) and np.isfinite(probabilities).all()):  # no comparison would ever tell that it is bad
        raise Refused("train: the trained weights are not finite numbers; a tenth of learning_rate, or precision: float32")
    record["validation"] = scores(validation.labels, probabilities)
    record["model"] = keras_file.save(whole, fresh)
    seen.write(fresh / seen.FILE, [training.table(), validation.table()])
    record["best"] = {"epoch": progress.kept_epoch, **progress.history[progress.kept_epoch - 1]}
    record["training_seconds"] = round(progress.seconds, 2)
    record["steps"] = progress.step
    record["waiting_share"] = round(progress.waiting / max(progress.seconds, 1e-9), 4)
    files.write_json(fresh / "run.json", record)
    files.write_csv(fresh / "history.csv", progress.history)
    (fresh / "params.yaml").write_text(yaml.safe_dump(configs.of_pipeline_run() or every, sort_keys=False), encoding="utf-8")
    if diff:
        (fresh / "git.diff.txt").write_text(diff, encoding="utf-8")
    if (augmented / "preview.png").exists():  # what was learnt from, beside what came of it
        shutil.copy(augmented / "preview.png", fresh)
    balanced = record["validation"]["balanced_accuracy"]
    title = f"{config.architecture.upper()}: balanced accuracy {balanced:.4f} on validation, of epoch {progress.kept_epoch}"
    _draw_curves(title, progress.history, progress.kept_epoch, fresh / "curves.png")
    return checkpoints, (f"train {config.architecture}: epoch {progress.kept_epoch} of {len(progress.history)} kept, "
                         f"{progress.seconds:.0f} s; balanced accuracy on validation {balanced:.4f}")  # fmt: skip


def _data_knobs() -> dict:
    """The knobs by which the data were measured and judged: for the record, they make no other training."""
    params = configs.of_pipeline_run()
    return {name: params[name] for name in ("measure", "validate") if name in params}


def _calibrate(keras, model, validation: arrays.Split, config: TrainConfig) -> tuple[float, bool, np.ndarray]:
    """Divide the outputs by the temperature that validation data asks for; what is most probable stays so.

    Returns it, and whether the mean with the mirror image is the better one there: so a network that never saw a mirrored
    picture, or of things whose sides matter, is left alone. And the probabilities, (n, classes), of the model that ships.
    """
    layer = model.get_layer("logits")
    outputs = keras.Model(model.input, layer.output)
    sides = [validation.images, validation.images[..., ::-1, :]] if config.mirror else [validation.images]
    logits = np.stack([keras_file.predict(outputs, images, name="calibrate") for images in sides])
    divisor, mirrored = calibration.fit(logits, validation.labels)
    layer.set_weights([weight / divisor for weight in layer.get_weights()])
    return divisor, mirrored, calibration.averaged(logits[: 1 + mirrored] / divisor)


def _both_sides(keras, model):
    """The mean of what the network says of a picture and of its mirror image (frames of a clip alike)."""
    mirrored = model(keras.ops.flip(model.input, axis=-2))
    return keras.Model(model.input, keras.layers.Average(name="both_sides")([model.output, mirrored]), name=model.name)


def _draw_curves(title: str, history: list[dict], best: int, file: Path) -> None:
    epochs = [row["epoch"] for row in history]
    with plots.figure(file, width=8, height=3.4, columns=2, title=title) as axes:
        for axis, what in zip(axes, ("loss", "accuracy"), strict=True):
            for side, colour in (("train", plots.BLUE), ("validation", plots.ORANGE)):
                axis.plot(epochs, [row[f"{side}_{what}"] for row in history], color=colour, marker=".", label=side)
            axis.axvline(best, color=plots.GREY, linewidth=0.8, linestyle=":", label="kept")
            axis.set(title=what.capitalize(), xlabel="epoch")
            axis.xaxis.get_major_locator().set_params(integer=True)
        plots.legend(axes[0])
