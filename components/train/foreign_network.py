"""A network that somebody else saved -> one of ours: read without running any code of it, its top taken off, split for transfer.py."""

import functools
import json
import math
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.shared import files, scratch
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend, efficientnet, keras_file

# What Keras applications are saved with, and what we rebuild them without.
CLASSES = keras_file.CLASSES | {
    "keras": keras_file.CLASSES["keras"] | {"Sequential"},
    "keras.initializers": {"GlorotUniform", "GlorotNormal", "HeNormal", "HeUniform", "VarianceScaling", "TruncatedNormal",
                           "RandomNormal", "RandomUniform", "LecunNormal", "Constant", "Zeros", "Ones", "Orthogonal"},
    "keras.regularizers": {"L1", "L2", "L1L2"},
}  # fmt: skip
PREFIX = "backbone_"  # before the names of its layers, so that no layer of ours has the same
SPLIT = f"{PREFIX}split"  # the layer behind which it learns
SIDE = 224  # pixels, where the network does not name its own
SIXTEENTH = (11, 21)  # times that the sides of the picture are as long as where the trunk ends
LEARNS = 0.25  # the least share of its parameters that follows the trunk
# As `preprocess_input` of keras.applications: what is multiplied and added to 0..255; of caffe to blue, green, red.
_DEVIATION, _MEAN = (0.229, 0.224, 0.225), (0.485, 0.456, 0.406)
PIXELS = {
    "0..255": (1.0, 0.0),
    "0..1": (1 / 255, 0.0),
    "tf": (1 / 127.5, -1.0),
    "torch": ([1 / (255 * each) for each in _DEVIATION], [-mean / each for mean, each in zip(_MEAN, _DEVIATION, strict=True)]),
    "caffe": ([1.0, 1.0, 1.0], [-103.939, -116.779, -123.68]),
}


def read(file: Path, *, pixels: str) -> tuple:
    """The network of a `.keras` file, which takes `pixels` (see PIXELS), or, as `found`, scales those from 0 to 255 itself.

    Returns a keras.Model, float32 (h, w, 3) from 0 to 255 -> feature map (h/32, w/32, c) or about so, and what was found, for JSON.
    Raises CannotRun when it is damaged or `pixels` is missing, Refused when it holds other than plain layers or cannot be split.
    """
    _, keras = backend.start()
    loaded = _loaded(file)
    if len(loaded.inputs) != 1 or len(loaded.outputs) != 1:
        raise Refused(f"{file}: has {len(loaded.inputs)} inputs and {len(loaded.outputs)} outputs, expected one of each")
    shape = tuple(loaded.inputs[0].shape[1:])
    if len(shape) != 3 or shape[2] != 3:
        raise Refused(f"{file}: takes {shape}, expected pictures in colour, (height, width, 3)")
    if not keras_file.is_finite(loaded):
        raise Refused(f"{file}: holds weights that are no finite numbers; it is not usable")
    images = keras.Input((shape[0] or SIDE, shape[1] or SIDE, 3), name=f"{PREFIX}input")
    try:
        flat = keras.Model(images, _laid(keras, loaded, images))
    except (TypeError, ValueError) as error:
        raise Refused(f"{file}: cannot be rebuilt ({_line(error)})") from None
    if pixels == "found" and not _scales(keras, flat):
        raise CannotRun(
            f"{file}: does not say what its pixels should be; name it with --pixels, as its preprocess_input does: tf (MobileNet V1 and "
            "V2, ResNetV2, Inception, Xception, NASNet), torch (DenseNet), caffe (ResNet, VGG), 0..1, 0..255"
        )
    cuts = [cut for cut in _cuts(keras, flat) if min(cut.shape[:2]) > 1]
    sides = images.shape[1:3]
    if not cuts or SIXTEENTH[0] * max(cuts[-1].shape[:2]) > max(sides):
        raise Refused(
            f"{file}: holds no feature map, (height, width, channels) with sides of a sixteenth of the picture's or less"
        )
    end, trunk = cuts[-1], _trunk(sides, cuts)
    if trunk is None:
        raise Refused(
            f"{file}: cannot be split; expected a layer on which alone all others depend where the sides are a sixteenth of the picture's"
        )
    x = _again(keras.Model(images, trunk.output), _shown(keras, images, pixels))
    x = _again(keras.Model(trunk.output, end.output), keras.layers.Identity(name=SPLIT)(x))
    model = keras.Model(images, x, name="backbone")
    about = {
        "pixels": "0..255, which it scales itself" if pixels == "found" else pixels,
        "layers": len(flat.layers), "parameters": end.parameters,
        "trunk": {"layer": trunk.name.removeprefix(PREFIX), "shape": trunk.shape, "parameters": trunk.parameters},
        "features": {"layer": end.name.removeprefix(PREFIX), "shape": end.shape},
    }  # fmt: skip
    return model, about


def halves(file: Path) -> tuple[Callable, Callable]:
    """Of what `write` wrote, as functions of tensors: uint8 (h, w, c), c 1 or 3 -> what goes on where it is split -> a feature map.

    Its layers compute in the precision that Keras is set to.
    """
    _, keras = backend.start()
    model = keras_file.load(file, sha256=files.digest(file))
    for layer in model.layers:
        layer.dtype_policy = keras.config.dtype_policy()
    middle = model.get_layer(SPLIT).output
    first, last = keras.Model(model.input, middle), keras.Model(middle, model.output)
    pixels = keras.layers.Rescaling(1.0)
    return lambda images: _again(first, efficientnet.enlarged(pixels(images))), functools.partial(_again, last)


def write(model, file: Path) -> None:
    """Save as a `.keras` file: the same bytes whenever it is done."""
    _, keras = backend.start()
    with scratch.folder() as folder:
        model.save(folder / "model.keras")
        _copy(
            folder / "model.keras", file, {"metadata.json": json.dumps({"keras_version": keras.__version__, "date_saved": ""})}
        )


def _loaded(file: Path):
    """What Keras loads of a copy that holds only what was looked at."""
    _, keras = backend.start()
    # Not how it was compiled: that names an optimizer, perhaps a loss that somebody wrote, and may run when it is loaded.
    config = keras_file.refuse_foreign(file, CLASSES, dropped="compile_config")
    with scratch.folder() as folder:
        try:
            _copy(file, folder / "model.keras", {"config.json": json.dumps(config)})
            return keras.saving.load_model(folder / "model.keras", compile=False, safe_mode=True)
        except Exception as error:  # of whatever kind: it is a stranger's file
            raise CannotRun(f"{file}: Keras cannot load it ({_line(error)})") from None


def _copy(source: Path, target: Path, changed: dict[str, str]) -> None:
    """A model file with some members changed, and none dated."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in sorted(keras_file.MEMBERS):
            with new.open(zipfile.ZipInfo(name), "w", force_zip64=True) as stream:
                if name in changed:
                    stream.write(changed[name].encode())
                else:
                    with old.open(name) as member:
                        shutil.copyfileobj(member, stream)


def _laid(keras, op, *given, **settings):
    """Call a copy of a layer or operation, of a network each of its own, so that none is inside another; weights are copied, too."""
    if isinstance(op, keras.Sequential):
        return functools.reduce(lambda x, layer: _laid(keras, layer, x), op.layers, *given)
    if isinstance(op, keras.Model):
        return _again(op, *given, operation_fn=lambda inner: functools.partial(_laid, keras, inner))
    config = op.get_config() | {"name": f"{PREFIX}{op.name}"}
    if isinstance(op, keras.Layer):
        # Statistics of batches of a few photos would spoil those of a million: they stay, whatever is trained.
        config |= {"dtype": "float32", "trainable": not isinstance(op, keras.layers.BatchNormalization)}
        config |= {name: None for name in config if name.endswith(("_initializer", "_regularizer", "_constraint"))}
    copy = type(op).from_config(config)
    outputs = copy(*given, **{name: value for name, value in settings.items() if name not in ("training", "mask")})
    if isinstance(op, keras.Layer):
        copy.set_weights(op.get_weights())
    if isinstance(op, keras.layers.Normalization):
        copy.finalize_state()
    return outputs


def _again(model, x, **how):
    """Call the layers of a network on another tensor, one by one: they become layers of what calls them. Keras itself does so."""
    _, keras = backend.start()
    return keras.tree.flatten(model._run_through_graph(x, **how))[0]


def _scales(keras, flat) -> bool:
    """Whether something before the first convolution scales the pixels."""
    for layer in flat.layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            return True
        if layer.weights:
            return False
    return False


def _shown(keras, images, pixels: str):
    """Pixels from 0 to 255, red, green, blue, as a network wants them."""
    scale, offset = PIXELS[pixels if pixels != "found" else "0..255"]
    x = keras.ops.flip(images, axis=-1) if pixels == "caffe" else images
    return keras.layers.Rescaling(scale, offset=offset, name=f"{PREFIX}pixels")(x)


@dataclass(frozen=True)
class Cut:
    """A place where one tensor alone goes on: all that follows depends on it."""

    name: str
    output: object  # keras.KerasTensor (height, width, channels)
    shape: tuple[int, int, int]
    parameters: int  # up to here


def _cuts(keras, flat) -> list[Cut]:
    """All places where a network can be split and a feature map goes on, in its order."""
    operations, last = [op for op in flat.operations if not isinstance(op, keras.layers.InputLayer)], {}
    for number, op in enumerate(operations):
        last |= dict.fromkeys(map(id, keras.tree.flatten(op.input)), number)
    last |= dict.fromkeys(map(id, flat.outputs), len(operations))
    cuts, alive, parameters = [], {id(tensor) for tensor in flat.inputs}, 0
    for number, op in enumerate(operations):
        parameters += op.count_params() if isinstance(op, keras.Layer) else 0
        alive = {tensor for tensor in alive | {id(op.output)} if last.get(tensor, -1) > number}
        if alive == {id(op.output)} and len(op.output.shape) == 4:
            cuts.append(Cut(op.name, op.output, tuple(op.output.shape[1:]), parameters))
    return cuts


def _trunk(sides: tuple[int, int], cuts: list[Cut]) -> Cut | None:
    """Where the trunk ends: as late as a sixteenth of the picture's sides allows, and little to keep of a picture."""
    least, most = SIXTEENTH
    there = [cut for cut in cuts if all(least <= side / own <= most for side, own in zip(sides, cut.shape, strict=False))]
    there = [cut for cut in there if cut.parameters <= (1 - LEARNS) * cuts[-1].parameters]
    small = 2 * min((math.prod(cut.shape) for cut in there), default=0)
    there = [cut for cut in there if math.prod(cut.shape) <= small]
    return max(reversed(there), key=lambda cut: (cut.parameters, -math.prod(cut.shape)), default=None)


def _line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]
