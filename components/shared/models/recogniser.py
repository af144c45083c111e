"""A package at work: pixels in, probabilities and answers out, by ONNX Runtime alone."""

import os
from pathlib import Path

import numpy as np

from components.shared.errors import CannotRun
from components.shared.models.answers import Answer, answers
from components.shared.models.package import MODEL, Package

LARGEST = 2**30  # bytes of a model file; no network of ours comes near
SPATIAL = 2**22  # values of input that are computed at once: no faster beyond, and memory stays flat
BATCH = 32  # samples at once: of more, what a layer says no longer fits the processor's cache, and an LSTM takes a tenth longer


class Recogniser:
    """A model that is loaded. `threads`: for one call; as many processes as processors with one thread each do the most."""

    def __init__(self, package: Package, *, threads: int = 1) -> None:
        os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # else it tells its maker of every session, since 1.29
        import onnxruntime

        self.package = package
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4
        checked(package.folder / MODEL)
        try:
            self._session = onnxruntime.InferenceSession(
                (package.folder / MODEL).read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            (images,), outputs = self._session.get_inputs(), {each.name: each for each in self._session.get_outputs()}
            probabilities, features = outputs["probabilities"], outputs["features"]
        except Exception as error:  # the runtime has a dozen kinds of its own
            raise CannotRun(f"{package.folder / MODEL}: cannot be loaded ({type(error).__name__})") from None
        expected = (list(package.preprocessing.shape), len(package.classes), "tensor(uint8)")
        if (list(images.shape[1:]), probabilities.shape[-1], images.type) != expected:
            raise CannotRun(f"{package.folder / MODEL}: is not the network of its package.json")
        self._input, self._features = images.name, int(features.shape[-1])
        self._at_once = min(BATCH, max(1, SPATIAL // int(np.prod(package.preprocessing.shape))))

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, *shape) -> float32 (n, classes)."""
        return self._run(images, {"probabilities": len(self.package.classes)})[0]

    def both(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (n, *shape) -> probabilities, float32 (n, classes), and what the output layer sees, float32 (n, f)."""
        probabilities, features = self._run(images, {"probabilities": len(self.package.classes), "features": self._features})
        return probabilities, features

    def _run(self, images: np.ndarray, outputs: dict[str, int]) -> list[np.ndarray]:
        parts = [[np.empty((0, size), np.float32)] for size in outputs.values()]
        for at in range(0, len(images), self._at_once):
            found = self._session.run(list(outputs), {self._input: images[at : at + self._at_once]})
            for part, values in zip(parts, found, strict=True):
                part.append(values)
        return [np.concatenate(part) for part in parts]

    def answers(self, images: np.ndarray, *, top: int = 1) -> list[Answer]:
        """uint8 (n, *shape) -> an answer each."""
        return answers(self.probabilities(images), self.package.classes, self.package.calibration, top=top)


def checked(file: Path) -> None:
    """Refuse a model that is too large, has data elsewhere or operators of others than ONNX. Raises CannotRun."""
    import onnx

    if file.stat().st_size > LARGEST:
        raise CannotRun(f"{file}: larger than {LARGEST // 2**20} MiB; no network of Darkroom is")
    try:
        model = onnx.load_model(str(file), load_external_data=False)
    except Exception as error:
        raise CannotRun(f"{file}: no ONNX model ({type(error).__name__})") from None
    # All of them: a node's attributes and graphs within the graph hold tensors, too.
    if any(map(onnx.external_data_helper.uses_external_data, onnx.external_data_helper._get_all_tensors(model))):
        raise CannotRun(f"{file}: keeps its weights in another file; expected them inside")
    if foreign := sorted({each.domain for each in model.opset_import} - {"", "ai.onnx", "ai.onnx.ml"}):
        raise CannotRun(f"{file}: needs operators of {foreign[0]!r}, which ONNX has not")
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError:
        raise CannotRun(f"{file}: no valid ONNX model") from None
