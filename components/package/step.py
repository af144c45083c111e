"""A trained model -> a package: ONNX that answers as Keras does, classes, preprocessing, and how sure an answer has to be."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.package.config import PackageConfig
from components.shared import destination, files, parallel
from components.shared.data import arrays
from components.shared.errors import CannotRun, Refused
from components.shared.models import keras_file
from components.shared.models.answers import Calibration
from components.shared.models.observed import observed
from components.shared.models.package import MODEL, VALIDATION, Package
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.preprocessing import Preprocessing
from components.shared.progress_bar import progress_bar
from components.shared.runs import tracking
from components.shared.runs.connection import load

RECORD = ("name", "classes", "shape", "data_digest", "knobs", "model", "training_id", "tags", "temperature", "preprocessing")
NEAR = 1e-4  # by so much a probability may differ from Keras's, and no class where Keras's first two lie further apart
AT_ONCE = 2**24  # bytes of pictures


def package(
    *,
    model: Annotated[Path, "what train wrote"],
    prepared: Annotated[Path, "what prepare wrote: the validation split"],
    config: PackageConfig,
    package: Annotated[Path, "folder for the package: all that predicting and serving need"],
) -> None:
    """Export the model, hold it against Keras on the whole validation split, and fit on that how sure an answer has to be.

    Raises Refused when the exported network answers otherwise than the trained one, CannotRun when it cannot be exported.
    """
    import onnx

    from components.package import convert

    destination.check_folder(package, kind="package", inputs=[model, prepared])
    record = files.read_json(model / "run.json", *RECORD)
    layout = arrays.Layout.read(prepared)
    if what := layout.difference(
        arrays.Layout(record["classes"], tuple(record["shape"]), record["data_digest"], record["knobs"])
    ):
        raise CannotRun(f"{model}: was trained from other {what} than {prepared}; `dvc repro` brings them together")
    way = Preprocessing.read(record["preprocessing"], where=model / "run.json")
    validation = arrays.load(prepared / "validation", layout)
    keras_file.check(model / keras_file.FILE, sha256=record["model"]["sha256"])
    with files.whole_folder(package, kind="package") as fresh:
        trained = model, record["model"]["sha256"], validation.folder, fresh
        keras = convert.in_a_process(convert.to_onnx, *trained, meanwhile=load)
        facts = {
            "training_id": record["training_id"], "data_digest": record["data_digest"], "git_commit": record["tags"]["git_commit"],
            "keras": version("keras"), "tf2onnx": version("tf2onnx"), "weights_sha256": record["model"]["weights_sha256"],
            "kilobytes": round((fresh / MODEL).stat().st_size / 1000), "samples": len(validation), "knobs": config.model_dump(),
            "augment": record["knobs"].get("augment", {}),
        }  # fmt: skip
        made = Package(record["name"], record["classes"], way, Calibration(1, 0, 0, 0, 0), {}, folder=fresh)
        recogniser = Recogniser(made, threads=parallel.processors())
        probabilities, rows = _observed(recogniser, validation)
        facts |= {
            "worst_difference": _worst(keras, probabilities, where=model),
            "nodes": len(onnx.load(fresh / MODEL).graph.node),
        }
        pq.write_table(
            rows.append_column("label", pa.array(np.array(layout.classes, object)[validation.labels], pa.string())),
            fresh / VALIDATION,
        )
        calibration = Calibration.fit(
            validation.labels, probabilities, temperature=record["temperature"], coverage=config.coverage, answered=config.answered
        )  # fmt: skip
        if config.litert:
            facts["litert"] = _litert(
                convert, trained, accuracy=float((keras.argmax(1) == validation.labels).mean()), clips=layout.is_clip
            )
        digests = {file.name: files.digest(file) for file in sorted(fresh.iterdir()) if not file.name.startswith(".")}
        Package(made.name, made.classes, way, calibration, digests, facts).write(fresh)
    tracking.try_to(tracking.send_package, model, package)
    sets = (probabilities >= calibration.set_floor).sum(1).clip(1).mean()
    print(f"package {made.name}: {facts['kilobytes']:,} kB of ONNX, {facts['nodes']} nodes, differs from Keras by at most "
          f"{facts['worst_difference']:.1e} on {len(validation):,} validation samples; sets of {sets:.2f} classes hold the true one "
          f"in {config.coverage:.0%}, below {calibration.answer_floor:.2f} it abstains")  # fmt: skip


def _observed(recogniser: Recogniser, validation: arrays.Split) -> tuple[np.ndarray, pa.Table]:
    """Of the validation split: probabilities, float32 (n, classes), and a row a sample of what is kept of each."""
    few = max(1, AT_ONCE // validation.images[0].nbytes)
    found, rows = [], []
    with progress_bar(total=len(validation), name="package") as bar:
        for start in range(0, len(validation), few):
            images = validation.images[start : start + few]
            probabilities, features = recogniser.both(images)
            found.append(probabilities)
            rows.append(observed(images, probabilities, features))
            bar.update(len(images))
    return np.concatenate(found), pa.concat_tables(rows)


def _worst(keras: np.ndarray, onnx: np.ndarray, *, where: Path) -> float:
    """The largest difference of two probabilities. Raises Refused where that, or a class, is another than Keras's."""
    difference = np.abs(keras - onnx).max(1)
    first, second = np.sort(keras, 1)[:, -1], np.sort(keras, 1)[:, -2]
    wrong = ~(difference <= NEAR) | ((keras.argmax(1) != onnx.argmax(1)) & (first - second > NEAR))
    if wrong.any():
        raise Refused(f"{where}: its ONNX answers otherwise than Keras for {wrong.sum():,} of {len(wrong):,} validation samples (a "
                      f"probability by {difference.max():.2g}, expected {NEAR:g} at most); it is not packaged")  # fmt: skip
    return float(difference.max())


def _litert(convert, trained: tuple, *, accuracy: float, clips: bool) -> dict:
    """What int8 costs in accuracy on validation, or why there are no files for LiteRT."""
    if clips:
        found = {"missing": "for stills alone, not for clips"}
    else:
        try:
            told = convert.in_a_process(convert.to_litert, *trained)
            found = {f"accuracy_{kind}": float(value) for kind, value in zip(convert.LITERT, told, strict=True)}
            found["accuracy_lost_by_int8"] = accuracy - found["accuracy_int8"]
        except CannotRun as error:
            for file in convert.LITERT.values():
                (trained[3] / file).unlink(missing_ok=True)
            found = {"missing": str(error)}
    told = found.get("missing") or f"int8 costs {found['accuracy_lost_by_int8']:.2%} of accuracy on validation"
    print(f"package: LiteRT: {told}")
    return found
