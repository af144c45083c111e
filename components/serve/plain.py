"""Requests of pictures as they are, and of MLflow's scoring protocol -> samples, each a list of encoded frames."""

import re

from components.serve.gate import MANY, Refusal, refuse_many
from components.serve.v2 import from_base64, read_json

_BOUNDARY = re.compile(r'(?i)boundary="?([^\s";,]{1,70})')
_IMAGE = re.compile(rb'(?im)^content-disposition:[^\r\n]*;[ \t]*name="?image"?[ \t]*(?:;|\r?$)')
_EXPECTED = "expected image/png or image/jpeg, or multipart/form-data with parts named image"


def pictures(content: bytes, kind: str) -> list[bytes]:
    """The frames of one sample: the body itself, or each part `image` of a form. `kind`: the header Content-Type.

    A form is read as RFC 7578 has it today, without transfer encodings. Raises Refusal (400, 413, 415).
    """
    if kind.startswith("image/"):
        return [content]
    if not kind.startswith("multipart/form-data"):
        raise Refusal(415, f"Content-Type {kind[:80]!r}: {_EXPECTED}")
    parts = []
    if boundary := _BOUNDARY.search(kind):
        parts = (b"\r\n" + content).split(b"\r\n--" + boundary[1].encode("latin-1", "replace"), MANY + 2)[1:]
    refuse_many(len(parts) - 1, "parts in one form")  # the last is what stands behind its end
    halves = [part.partition(b"\r\n\r\n") for part in parts]
    frames = [picture for head, _, picture in halves if _IMAGE.search(head[:4096])]
    if not frames:
        raise Refusal(400, f"the form holds no picture: {_EXPECTED}")
    return frames


def invocations(content: bytes) -> list[list[bytes]]:
    """Of `dataframe_split`, `dataframe_records`, `inputs` or `instances`: pictures in base64, in a column `image` or the first.

    A cell of clips is a list of frames. https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally
    Raises Refusal (400, 413).
    """
    asked = read_json(content)
    try:
        split = asked.get("dataframe_split")
        named = (asked[name] for name in ("dataframe_records", "inputs", "instances") if name in asked)
        rows = _column(next(named)) if split is None else split["data"]
        refuse_many(len(rows), "samples in one request")
        cells = rows if split is None else [dict(zip(split["columns"], row, strict=True)) for row in rows]
        cells = [cell if isinstance(cell, list) else [cell] for cell in map(_column, cells)]
        for cell in cells:
            refuse_many(len(cell), "frames in one sample")
    except (KeyError, TypeError, ValueError, StopIteration):
        raise Refusal(400, "expected dataframe_split, dataframe_records, inputs or instances with a column image") from None
    if not cells or not all(cells):
        raise Refusal(400, "there is no picture in it")
    return [[from_base64(text, where=f"row {row}") for text in cell] for row, cell in enumerate(cells)]


def _column(values: object) -> object:
    """Of columns, the one that MLflow's model takes: image, or the first; what has none is it already."""
    return values.get("image", next(iter(values.values()), None)) if isinstance(values, dict) else values
