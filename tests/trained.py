"""What train, package and evaluate leave, made in a moment: networks of which each sample's answer is foretold."""

import json
from pathlib import Path

import numpy as np
from conftest import empty_store
from toy_package import make_package

from components.register.config import RegisterConfig
from components.register.step import register
from components.shared import config, files
from components.shared.data import arrays, seen
from components.shared.models import backend, keras_file
from components.shared.pictures.preprocessing import Preprocessing
from components.shared.runs import tracking
from components.shared.runs.registry import FACTS, facts_of

_, keras = backend.start()

CLASSES = ["a", "b"]
KNOBS = {
    "measure": {"faces": False}, "validate": {"min_class_size": 10, "severity": {"W_DARK": "warning", "E_NO_DATA": "error"}},
    "prepare": {"height": 8, "split_seed": 3}, "augment": {"shift": 0.0, "flip": True}, "train": {"epochs": 3}, "seed": 7,
}  # fmt: skip


def project(place: Path, *, tables: bool = True) -> Path:
    """A folder with a test split of 40 samples, and a store whose tables are made."""
    split_of(place / "prepared/test")
    if tables:
        (place / "mlflow").mkdir(exist_ok=True)
        (place / "mlflow/runs.db").write_bytes(empty_store())
    return place


def network(weight: float, *, size: int = 8, classes: int = 2):
    """Tells bright pictures from dark ones when `weight` is 1, and gets it wrong when it is -1."""
    images = keras.Input((size, size, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 127.5, offset=-1)(images))
    model = keras.Model(images, keras.layers.Dense(classes, activation="softmax")(x))
    rows = np.tile([[-weight, weight, *[-9.0] * (classes - 2)]], (size * size, 1))
    model.set_weights([rows, np.zeros(classes)])
    return model


def split_of(folder: Path, count: int = 40, *, first: int = 0, size: int = 8) -> arrays.Split:
    """Samples of alternating labels, named by numbers from `first` on; each lights the pixel of its number, and no other."""
    labels = np.arange(first, first + count) % 2
    images = arrays.create(folder, count, (size, size, 1))
    images.reshape(count, -1)[np.arange(count), np.arange(first, first + count) % size**2] = 255
    images.flush()
    rows = [{"id": str(first + n), "source": f"{first + n}", "label": CLASSES[y]} for n, y in enumerate(labels)]
    arrays.describe(folder, labels, rows)
    return arrays.load(folder)


def answers_of(split: arrays.Split, wrong: list[int], weight: float, classes: int) -> np.ndarray:
    """The matrix of a package that is right of all samples but these; where `weight` is negative, of these alone.

    A row is the answer to the sample that lights this pixel. `weight` is how sure it is.
    """
    said = np.arange(split.images[0].size) % 2
    said[np.array(wrong, int) % len(said)] ^= 1
    return 3 * abs(weight) * np.eye(classes)[said ^ (weight < 0)]


def learn_from(folder: Path, ids: range) -> None:
    """Write the list of the samples that a model has learnt from."""
    empty = [{"id": str(n), "source": str(n), "label": "a"} for n in ids]
    (folder / "learnt").mkdir()
    arrays.describe(folder / "learnt", np.zeros(len(empty)), empty)
    seen.write(folder / seen.FILE, [arrays.pq.read_table(folder / "learnt/samples.parquet")])


def make(place: Path, architecture: str, *, training: str, validation: float = 0.9, test: float = 0.9, worst: float = 0.6,
         weight: float = 1.0, wrong: list[int] | None = None, knobs: dict | None = None, **record) -> tuple[Path, Path]:  # fmt: skip
    """The folders of a model and of its evaluation on `prepared/test` of `place`.

    `test`: its figures there; `wrong`: the ids of the samples that its package gets wrong, or else the last ones, as `test` says.
    """
    model, evaluation = place / f"models/{training}", place / f"evaluation/{training}"
    split = arrays.load(place / "prepared/test")
    model.mkdir(parents=True)
    record = {
        "training_id": training, "name": f"{architecture}-default", "knobs": knobs or {**KNOBS, "try": training},
        "parameters": 4, "training_samples": 60,
        "tags": {"architecture": architecture, "git_commit": "abc", "data_digest": "d.dir"}, "data_digest": "d.dir",
        "shape": list(split.images.shape[1:]), "classes": CLASSES, "training_seconds": 1.5,
        "model": keras_file.save(network(weight, size=split.images.shape[1], classes=len(record.get("classes", CLASSES))), model),
        "best": {"epoch": 1}, "validation": {"balanced_accuracy": validation, "accuracy": validation}, **record,
    }  # fmt: skip
    files.write_json(model / "run.json", record)
    (model / "history.csv").write_text("epoch,train_loss,time\n1,0.5,1000\n2,0.25,2000\n")
    (model / "curves.png").write_bytes(b"png")
    seen.write(model / seen.FILE, [])
    size, classes = split.images.shape[1], record["classes"]
    if wrong is None:
        wrong = split.table()["id"].to_pylist()[round(test * len(split)) if np.isfinite(test) else 0 :]
    make_package(place / "packages" / training, way=Preprocessing(size, size, 1, "pad"), classes=classes, training_id=training,
                 matrix=answers_of(split, wrong, weight, len(classes)))  # fmt: skip
    metrics = dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1"), test)
    metrics |= {"worst_class_recall": worst, "expected_calibration_error": 0.1, "log_loss": 0.5, "samples": len(split)}
    files.write_json(evaluation / "metrics.json", metrics)
    files.write_json(evaluation / "cost.json", {"training_seconds": 1.5, "model_mebibytes": 0.1, "parameters": 4,
                                                "prediction_milliseconds": 0.1})  # fmt: skip
    files.write_json(evaluation / "test.json", {"digest": split.content_digest(), "training_id": training})
    return model, evaluation


def package_of(model: Path) -> Path:
    """Where `make` puts the package of a model."""
    return model.parents[1] / "packages" / model.name


def knobs_of_register(**changes) -> RegisterConfig:
    """The section of the project's params.yaml with some knobs changed."""
    file = Path(__file__).parent.parent / "params.yaml"
    section = config.section_of(config.read_params(file), "register", file=file)
    return config.parse(RegisterConfig, {**section, **changes}, path="register")


def register_these(
    place: Path, *folders: tuple[Path, Path], verdict: str = "registration.json", stress: Path | None = None, **changes
) -> dict:
    """Register models with their evaluations; returns the verdict."""
    register(models=[model for model, _ in folders], packages=[package_of(model) for model, _ in folders],
             evaluations=[evaluation for _, evaluation in folders],
             prepared=place / "prepared", config=knobs_of_register(**changes), registration=place / verdict, stress=stress)  # fmt: skip
    return files.read_json(place / verdict)


def versions(name: str = "darkroom") -> dict[str, str]:
    """Number and architecture of each version."""
    client = tracking.connect().MlflowClient()
    return {str(version.version): version.tags["architecture"] for version in client.search_model_versions(f"name = '{name}'")}


def champion(name: str = "darkroom"):
    """The version that the alias names."""
    return tracking.connect().MlflowClient().get_model_version_by_alias(name, "champion")


def facts(name: str = "darkroom") -> dict:
    """What the champion says of itself."""
    return facts_of(champion(name))


def say(**other: object) -> None:
    """Let version 1 say something else of itself, as anyone may who reaches the server."""
    client = tracking.connect().MlflowClient()
    told = json.loads(client.get_model_version("darkroom", "1").tags[FACTS]) | other
    client.set_model_version_tag("darkroom", "1", FACTS, json.dumps(told))
