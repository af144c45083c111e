"""The pretrained network: its file is read without PyTorch and without harm, and it computes what its weights say."""

import io
import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from components.shared import files
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend, efficientnet, torch_file

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


def rebuild(*_):
    """Written under the name that PyTorch's has."""


rebuild.__module__, rebuild.__qualname__, rebuild.__name__ = "torch._utils", "_rebuild_tensor_v2", "_rebuild_tensor_v2"


class Storage:
    """Written under PyTorch's name, too."""


Storage.__module__, Storage.__qualname__, Storage.__name__ = "torch", "FloatStorage", "FloatStorage"


class Tensor:
    def __init__(self, values, offset, shape, strides):
        self.values, self.place = values, (offset, shape, strides)

    def __reduce__(self):
        return rebuild, (self.values, *self.place, False, OrderedDict())


class Writer(pickle._Pickler):  # the one in Python, which does not look whether a name can be imported
    def persistent_id(self, thing):
        return ("storage", Storage, "0", "cpu", len(thing), None) if isinstance(thing, np.ndarray) else None

    def save_global(self, thing, name=None):
        module = thing.__module__
        self.write(b"c" + f"{module}\n{thing.__qualname__}\n".encode())
        self.memoize(thing)

    dispatch = pickle._Pickler.dispatch | {type(rebuild): save_global, type: save_global}


def written(file, tensors):
    stream, values = io.BytesIO(), np.arange(12, dtype="<f4")
    for thing in (MAGIC, PROTOCOL, {}, tensors, ["0"]):
        Writer(stream, 2).dump(thing)
    stream.write(len(values).to_bytes(8, "little") + values.tobytes())
    file.write_bytes(stream.getvalue())
    return files.digest(file)


def read(file, digest):
    return torch_file.read(file, sha256=digest)


def test_strides_are_honoured(tmp_path):
    values = np.arange(12, dtype="<f4")
    digest = written(tmp_path / "w", OrderedDict(a=Tensor(values, 2, (3, 2), (1, 4)), b=Tensor(values, 0, (), ())))
    found = read(tmp_path / "w", digest)
    assert found["a"].tolist() == [[2, 6], [3, 7], [4, 8]]
    assert found["b"].shape == ()


@pytest.mark.parametrize(
    "place", [(2, (3, 2), (1, 9)), (-1, (2,), (1,)), (0, (2,), (-1,)), (12, (1,), (1,)), (0, (3,), (1, 1))]
)
def test_no_tensor_reaches_beyond_its_storage(tmp_path, place):
    digest = written(tmp_path / "w", OrderedDict(a=Tensor(np.arange(12, dtype="<f4"), *place)))
    with pytest.raises(Refused, match="no weights in PyTorch's old format"):
        read(tmp_path / "w", digest)


def test_nothing_of_the_file_is_called(tmp_path):
    class Harm:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/harmed",)

    stream = io.BytesIO()
    for thing in (MAGIC, PROTOCOL, {}, OrderedDict(a=Harm()), ["0"]):
        pickle.dump(thing, stream, 2)
    (tmp_path / "w").write_bytes(stream.getvalue())
    with pytest.raises(Refused, match=r"it names posix.system"):
        read(tmp_path / "w", files.digest(tmp_path / "w"))
    assert not (tmp_path / "harmed").exists()


def test_another_file_is_not_even_opened(tmp_path):
    digest = written(tmp_path / "w", OrderedDict())
    with pytest.raises(Refused, match="not the weights that are known"):
        read(tmp_path / "w", "0" * 64)
    with pytest.raises(CannotRun, match="no such file"):
        read(tmp_path / "none", digest)
    for cut in (0, 5, 60):
        (tmp_path / "cut").write_bytes((tmp_path / "w").read_bytes()[:cut])
        with pytest.raises(Refused, match="no weights"):
            read(tmp_path / "cut", files.digest(tmp_path / "cut"))


def forward(images):
    """The network in NumPy, from the raw tensors, as PyTorch names them: nothing of ours but the reader."""
    raw = torch_file.read(efficientnet._file(), sha256=efficientnet.DIGEST)
    x = (images.astype(np.float64) - 127) / 128

    def convolved(x, name, norm, stride=1, relu=True):
        kernel = raw[f"{name}.weight"].astype(np.float64)
        out, each, size, _ = kernel.shape
        side = -(-x.shape[1] // stride)
        pad = max((side - 1) * stride + size - x.shape[1], 0)
        x = np.pad(x, ((0, 0), (pad // 2, pad - pad // 2), (pad // 2, pad - pad // 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
        product = "nyxcij,cij->nyxc" if each == 1 and out > 1 and x.shape[3] == out else "nyxcij,ocij->nyxo"
        x = np.einsum(product, windows, kernel[:, 0] if product.endswith("c") else kernel, optimize=True)
        gain = raw[f"{norm}.weight"] / np.sqrt(raw[f"{norm}.running_var"] + 1e-3)
        x = (x - raw[f"{norm}.running_mean"]) * gain + raw[f"{norm}.bias"]
        return np.clip(x, 0, 6) if relu else x

    x, number = convolved(x, "_conv_stem", "_bn0", 2), 0
    for repeats, stride in ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1)):
        for repeat in range(repeats):
            before, block = x, f"_blocks.{number}"
            if number:
                x = convolved(x, f"{block}._expand_conv", f"{block}._bn0")
            x = convolved(x, f"{block}._depthwise_conv", f"{block}._bn1", stride if repeat == 0 else 1)
            x = convolved(x, f"{block}._project_conv", f"{block}._bn2", relu=False)
            x, number = x + before if x.shape == before.shape else x, number + 1
    return convolved(x, "_conv_head", "_bn1").mean(axis=(1, 2))


def photo(name, box, side):
    picture = Image.fromarray(load_sample_image(name)).crop(box).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(picture)[None]


def test_it_computes_what_its_weights_say():
    backend.start()
    image = photo("china.jpg", (0, 0, 420, 420), 129)  # an odd side: padding is not alike on both sides
    found, expected = efficientnet.encoder(image.shape[1:])(image).numpy(), forward(image)
    np.testing.assert_allclose(found, expected, atol=2e-5 * expected.max())


def test_it_knows_a_daisy_and_a_palace():
    backend.start()
    kernel, bias = efficientnet.classifier()
    network = efficientnet.encoder((224, 224, 3))
    seen = [
        int((network(photo(name, box, 224)).numpy() @ kernel + bias).argmax())
        for name, box in (("flower.jpg", (150, 20, 550, 420)), ("china.jpg", (100, 0, 527, 427)))
    ]
    assert seen[0] == 985  # daisy
    assert seen[1] in (698, 663, 497, 832)  # palace, monastery, church, stupa


def test_grey_and_small_pictures_are_taken():
    backend.start()
    grey = photo("flower.jpg", (150, 20, 550, 420), 32).mean(axis=3, keepdims=True).astype(np.uint8)
    assert efficientnet.encoder((32, 32, 1))(grey).shape == (1, efficientnet.FEATURES)
    colour = efficientnet.encoder((32, 32, 3))(np.repeat(grey, 3, axis=3)).numpy()
    np.testing.assert_allclose(efficientnet.encoder((32, 32, 1))(grey).numpy(), colour, rtol=1e-4, atol=1e-5)
