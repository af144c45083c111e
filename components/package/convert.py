"""A Keras network -> files that run without Keras. In a process of its own: TensorFlow's converters may crash, or never end."""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from components.shared import files, supervise
from components.shared.data import arrays
from components.shared.errors import CannotRun, Stop
from components.shared.models import backend, keras_file
from components.shared.models.package import MODEL

LONGEST = 900.0  # seconds for a conversion; the largest network of ours takes one minute
ANSWERS = "keras.npy"  # what the network itself says of the validation split
LITERT = {"float32": "model.tflite", "int8": "model.int8.tflite"}
SAMPLES = 256  # of validation, by which int8 chooses its ranges


def to_onnx(model: Path, sha256: str, validation: Path, folder: Path, done: Connection) -> None:
    """Write `model.onnx` and say so, then `keras.npy`: float32 (n, classes), what Keras says of the validation split."""
    _, keras = backend.start()
    network, again = (keras_file.load(model / keras_file.FILE, sha256=sha256) for _ in range(2))
    warnings.simplefilter("ignore")  # of NumPy, about tf2onnx
    rolled = _with_features(keras, _rolled(again))
    rolled(np.zeros((1, *network.input_shape[1:]), np.uint8))  # Keras exports no network that was never called
    rolled.export(folder / MODEL, format="onnx", verbose=False)
    _widen(folder / MODEL)
    done.send("")
    np.save(folder / ANSWERS, keras_file.predict(network, arrays.load(validation).images, name="package"))


def to_litert(model: Path, sha256: str, validation: Path, folder: Path, done: Connection) -> None:
    """Write the network for LiteRT, in float32 and in int8, and how often each says of the validation split what is true."""
    tf, _ = backend.start()
    for stream in (1, 2):  # TensorFlow says in C++, too, what it converts, at length
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    split = arrays.load(validation)
    network = keras_file.load(model / keras_file.FILE, sha256=sha256)  # unrolled where it was trained so: LiteRT knows no other
    for kind, file in LITERT.items():
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        if kind == "int8":
            chosen = np.linspace(0, len(split) - 1, min(len(split), SAMPLES)).astype(int)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([split.images[i : i + 1]] for i in chosen)  # noqa: B023
        (folder / file).write_bytes(converter.convert())
    done.send("")
    np.save(folder / ANSWERS, [_litert_accuracy(tf, folder / file, split) for file in LITERT.values()])


def in_a_process(work: Callable, *arguments: object, meanwhile: Callable | None = None) -> np.ndarray:
    """Let one of the two above run, whose last argument but one is a folder; returns what it says of the validation split.

    `meanwhile` is called in this process, while the other one loads TensorFlow. Raises CannotRun when that crashes or does not end,
    Refused when the model is another than was trained.
    """
    context = multiprocessing.get_context("spawn")
    told, done = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(work, *arguments, done))
    process.start()
    done.close()
    try:
        if meanwhile:
            meanwhile()
        if not told.poll(LONGEST):
            raise CannotRun(f"package: TensorFlow's converter did not end within {LONGEST:g} seconds")
        for _ in range(2):  # when it is converted, and when it has answered
            if isinstance(fault := told.recv(), Stop):
                raise fault
        process.join()
        if process.exitcode:
            raise EOFError
        return np.load(Path(arguments[-1], ANSWERS))
    except EOFError:
        process.join()
        ended = -process.exitcode
        how = signal.Signals(ended).name if ended > 0 else f"exit code {process.exitcode}"
        raise CannotRun(
            f"package: TensorFlow's converter died ({how}); free some memory, and run the same command again"
        ) from None
    finally:
        process.kill()
        Path(arguments[-1], ANSWERS).unlink(missing_ok=True)


def _child(work: Callable, *arguments: object) -> None:
    supervise.end_with_parent()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # with a graphics card an LSTM becomes an operator of that card alone
    try:
        with files.room(arguments[-2]):
            work(*arguments)
        arguments[-1].send("")
    except Stop as stop:
        arguments[-1].send(stop)
    except Exception as error:  # TensorFlow and its converters raise whatever they please
        first = next(iter(str(error).splitlines()), "")[:200]
        arguments[-1].send(CannotRun(f"package: this network cannot be converted ({type(error).__name__}: {first})"))


def _rolled(network):
    """The same network, its recurrent layers looping from now on: for those ONNX has an operator, and a tenth of the nodes."""
    for layer in network._flatten_layers():
        if getattr(layer, "unroll", False):
            layer.unroll = False
    return network


def _with_features(keras, network):
    """The network with two named outputs; `features` is what its layer `logits` sees, of the picture, not of its mirror image."""
    features = network.get_layer("logits").input
    return keras.Model(network.input, {"probabilities": network.output, "features": features})


def _widen(file: Path) -> None:
    """Give the scalars by which pictures are rescaled the pictures' dimensions.

    ONNX Runtime 1.29 goes from number to number where a scalar meets pictures of one channel: a tenth of a small network's time.
    """
    import onnx

    model = onnx.load_model(file)
    ranks = {
        each.name: len(each.type.tensor_type.shape.dim) for each in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    rescaling = [node for node in model.graph.node if "/rescaling" in node.output[0]]
    for each in model.graph.initializer:
        wanted = {ranks.get(node.output[0], 0) for node in rescaling if each.name in node.input}
        if len(wanted) == 1 and not each.dims:
            each.dims.extend([1] * wanted.pop())
    onnx.save_model(model, file)


def _litert_accuracy(tf, file: Path, validation: arrays.Split, batch: int = 64) -> float:
    interpreter = tf.lite.Interpreter(str(file))
    (images,), (answers,) = interpreter.get_input_details(), interpreter.get_output_details()
    right = 0
    for start in range(0, len(validation), batch):
        some = validation.images[start : start + batch]
        interpreter.resize_tensor_input(images["index"], some.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(images["index"], some)
        interpreter.invoke()
        right += int((interpreter.get_tensor(answers["index"]).argmax(1) == validation.labels[start : start + batch]).sum())
    return right / len(validation)
