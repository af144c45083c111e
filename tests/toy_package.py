"""A package whose network is one matrix, drawn in a moment and without TensorFlow: what it says is easy to foretell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper, save_model

from components.shared import files
from components.shared.models.answers import Calibration
from components.shared.models.observed import observed
from components.shared.models.package import MODEL, VALIDATION, Package, read
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.preprocessing import Preprocessing

CLASSES = ["circle", "square", "star"]
STILLS = Preprocessing(12, 12, 1, "pad")
CALIBRATION = Calibration(temperature=1.0, coverage=0.9, set_floor=0.2, answered=0.9, answer_floor=0.4)


def make_package(
    folder: Path, *, way: Preprocessing = STILLS, classes: list[str] = CLASSES, seed: int = 0, name: str = "toy",
    training_id: str = "0" * 32, matrix: np.ndarray | None = None, validation: tuple[np.ndarray, list[str]] | None = None,
) -> Package:  # fmt: skip
    """Softmax of (pixels / 255) times a matrix, a seeded one unless it is given. `validation`: images and labels, or noise."""
    if matrix is None:
        matrix = np.random.default_rng(seed).normal(size=(int(np.prod(way.shape)), len(classes)))
    matrix = matrix.astype(np.float32)
    constants = {"shape": np.array([-1, len(matrix)]), "scale": np.float32(255), "matrix": matrix}
    nodes = [
        helper.make_node("Cast", ["images"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["values", "scale"], ["scaled"]),
        helper.make_node("Reshape", ["scaled", "shape"], ["features"]),
        helper.make_node("MatMul", ["features", "matrix"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes, "toy",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", *way.shape])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", len(classes)]),
         helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", len(matrix)])],
        [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()],
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=10)
    save_model(model, str(folder / MODEL))
    facts = {"training_id": training_id}
    made = Package(name, classes, way, CALIBRATION, {MODEL: files.digest(folder / MODEL)}, facts, folder)
    images, labels = validation or (np.random.default_rng(seed + 1).integers(0, 256, (200, *way.shape), np.uint8), None)
    probabilities, features = Recogniser(made).both(images)
    rows = observed(images, probabilities, features)
    labels = labels or [classes[index] for index in probabilities.argmax(1)]
    floor = float(np.quantile(probabilities.max(1), 0.1)) if validation else CALIBRATION.answer_floor
    pq.write_table(rows.append_column("label", pa.array(labels)), folder / VALIDATION)
    digests = {file: files.digest(folder / file) for file in (MODEL, VALIDATION)}
    Package(name, classes, way, replace(CALIBRATION, answer_floor=floor), digests, facts).write(folder)
    return read(folder)
