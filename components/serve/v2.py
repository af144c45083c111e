"""The Open Inference Protocol, version 2, as KServe and Triton speak it: requests and answers in JSON, or with binary tensors.

https://github.com/kserve/open-inference-protocol, and its extension "binary tensor data". One input: `BYTES`, an encoded picture
each (base64 in JSON), clips with a second dimension for their frames; or `UINT8`, pixels of the network's own shape.
"""

import base64
import json
import math
import re
import struct
from typing import Any, NamedTuple

import numpy as np

from components.serve.gate import Refusal, refuse_many
from components.shared.models.answers import Answer

DATATYPES = {"label": "BYTES", "probability": "FP32", "probabilities": "FP32", "prediction_set": "BYTES", "abstained": "BOOL"}


class Question(NamedTuple):
    """What a request asks: encoded samples (a list of frames each) or pixels; which outputs, and whether as binary."""

    id: str
    encoded: list[list[bytes]]
    pixels: np.ndarray | None
    outputs: dict[str, bool]


def from_base64(text: object, *, where: str) -> bytes:
    """Raises Refusal (400)."""
    try:
        return base64.b64decode(text.encode().translate(None, b" \t\r\n"), validate=True)
    except (AttributeError, ValueError):
        raise Refusal(400, f"{where}: expected base64 of a PNG or JPEG") from None


def read_json(content: bytes) -> dict:
    """An object. Raises Refusal (400)."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not valid JSON") from None
    if not isinstance(found, dict):
        raise Refusal(400, "the body is not a JSON object")
    return found


def read(content: bytes, head_length: str | None, shape: tuple[int, ...]) -> Question:
    """Of a request's body; `head_length`: its header Inference-Header-Content-Length; `shape`: of one sample.

    Raises Refusal (400, 413).
    """
    if head_length is not None and not (re.fullmatch("[0-9]{1,9}", head_length) and int(head_length) <= len(content)):
        raise Refusal(400, "Inference-Header-Content-Length: expected the length of the JSON at the body's begin")
    cut = len(content) if head_length is None else int(head_length)
    asked, raw = read_json(content[:cut]), content[cut:]
    try:
        (tensor,) = asked["inputs"]
        asked_id, outputs = _short(asked.get("id") or "", 200), _outputs(asked)
        name, size, kind = repr(_short(tensor["name"], 80)), _size(tensor["shape"]), _short(tensor["datatype"], 20)
        if kind not in ("BYTES", "UINT8"):
            raise Refusal(400, f"{name}: datatype {kind!r}; expected BYTES, encoded pictures, or UINT8, pixels")
        frames_each = 1 if len(shape) == 3 else size[-1]  # of an encoded clip: the last dimension
        samples = size[0] if kind == "UINT8" else math.prod(size) // frames_each
        refuse_many(samples, "samples in one request")
        refuse_many(frames_each, "frames in one sample")
        if "binary_data_size" in tensor.get("parameters", {}):
            data = _bytes(raw, samples * frames_each) if kind == "BYTES" else np.frombuffer(raw, np.uint8)
            whole = len(raw) == int(tensor["parameters"]["binary_data_size"])
        else:
            data, whole = tensor["data"], not raw
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise Refusal(400, "inputs: expected one tensor with name, shape, datatype, and data or binary_data_size") from None
    if not whole:
        raise Refusal(400, f"{name}: the bytes behind the JSON are not as many as binary_data_size says")
    if kind == "UINT8":
        return Question(asked_id, [], _pixels(data, size, shape, name), outputs)
    frames = data if isinstance(data, list) else []
    if frames and all(isinstance(each, list) for each in frames):
        frames = [frame for each in frames for frame in each]
    if len(frames) != samples * frames_each:
        raise Refusal(400, f"{name}: shape {size} does not fit the data")
    if not raw:
        frames = [from_base64(text, where=f"{name}: data[{at}]") for at, text in enumerate(frames)]
    encoded = [frames[at : at + frames_each] for at in range(0, len(frames), frames_each)]
    return Question(asked_id, encoded, None, outputs)


def _short(value: object, most: int) -> str:
    """Of a name, what an answer repeats of it. Raises TypeError for a list or an object, which may be of any depth."""
    if isinstance(value, list | dict):
        raise TypeError
    return str(value)[:most]


def _size(sides: list[int]) -> list[int]:
    """A tensor's shape. Raises TypeError or ValueError for one that no tensor has."""
    if not 0 < len(sides) <= 8 or not all(1 <= side < 2**31 for side in sides):
        raise ValueError
    return [int(side) for side in sides]


def _outputs(asked: dict) -> dict[str, bool]:
    every = bool(asked.get("parameters", {}).get("binary_data_output", False))
    listed = {}
    for each in asked.get("outputs") or []:
        if each["name"] not in DATATYPES:
            raise Refusal(400, f"outputs: no {_short(each['name'], 80)!r}; there are {', '.join(DATATYPES)}")
        listed[each["name"]] = bool(each.get("parameters", {}).get("binary_data", every))
    return listed or dict.fromkeys(DATATYPES, every)


def _pixels(data: Any, size: list[int], shape: tuple[int, ...], name: str) -> np.ndarray:
    if tuple(size[1:]) != shape:
        raise Refusal(400, f"{name}: shape {size}; expected {[-1, *shape]}")
    try:
        # as objects, for NumPy would make every text as long as the longest
        levels = data if isinstance(data, np.ndarray) else np.asarray(data, object)
        if levels.dtype == object and {*map(type, levels.flat)} != {int}:
            raise ValueError
        return levels.astype(np.uint8).reshape(size)
    except (ValueError, OverflowError):
        raise Refusal(400, f"{name}: data: expected {math.prod(size)} levels, 0 to 255") from None


def _bytes(raw: bytes, expected: int) -> list[bytes]:
    """Elements of a binary BYTES tensor: each its length, four bytes little-endian, and itself; one more than expected at most."""
    found, at = [], 0
    while at < len(raw) and len(found) <= expected:
        (length,) = struct.unpack_from("<I", raw.ljust(at + 4, b"\xff"), at)
        if at + 4 + length > len(raw):
            raise ValueError
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def write(question: Question, answers: list[Answer], probabilities: np.ndarray, facts: dict) -> tuple[bytes, dict[str, str]]:
    """Body and headers. `facts`: model_name, model_version, parameters."""
    values = {
        "label": [each.label for each in answers],
        "probability": np.array([each.probability for each in answers], np.float32),
        "probabilities": probabilities,
        "prediction_set": [json.dumps(each.prediction_set, ensure_ascii=False) for each in answers],
        "abstained": np.array([each.abstained for each in answers]),
    }
    tensors, behind = [], b""
    for name, binary in question.outputs.items():
        value = values[name]
        shape = [len(value)] if isinstance(value, list) else list(value.shape)
        tensor = {"name": name, "datatype": DATATYPES[name], "shape": shape}
        if binary:
            encoded = [text.encode() for text in value] if isinstance(value, list) else []
            raw = b"".join(struct.pack("<I", len(each)) + each for each in encoded) if encoded else value.tobytes()
            behind += raw
            tensors.append(tensor | {"parameters": {"binary_data_size": len(raw)}})
        else:
            tensors.append(tensor | {"data": value if isinstance(value, list) else value.ravel().tolist()})
    head = json.dumps(facts | {"id": question.id, "outputs": tensors}).encode()
    if not behind:
        return head, {"content-type": "application/json"}
    return head + behind, {"content-type": "application/octet-stream", "inference-header-content-length": str(len(head))}
