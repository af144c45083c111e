"""Requests of pictures as they are, and of MLflow's scoring protocol -> samples, each a list of encoded frames."""

from email import message_from_bytes, policy

from components.serve.gate import Refusal
from components.serve.v2 import from_base64, read_json

_EXPECTED = "expected image/png or image/jpeg, or multipart/form-data with parts named image"


def pictures(content: bytes, kind: str) -> list[bytes]:
    """The frames of one sample: the body itself, or each part `image` of a form. `kind`: the header Content-Type.

    Raises Refusal (400, 415).
    """
    if kind.startswith("image/"):
        return [content]
    if not kind.startswith("multipart/form-data"):
        raise Refusal(415, f"Content-Type {kind[:80]!r}: {_EXPECTED}")
    form = message_from_bytes(b"Content-Type: " + kind.encode("latin-1", "replace") + b"\r\n\r\n" + content, policy=policy.HTTP)
    parts = form.iter_parts() if form.is_multipart() else ()
    frames = [
        part.get_payload(decode=True) for part in parts if part.get_param("name", header="content-disposition") == "image"
    ]
    if not frames or None in frames:
        raise Refusal(400, f"the form holds no picture: {_EXPECTED}")
    return frames


def invocations(content: bytes) -> list[list[bytes]]:
    """Of `dataframe_split`, `dataframe_records`, `inputs` or `instances`: pictures in base64, in a column `image` or the first.

    A cell of clips is a list of frames. https://mlflow.org/docs/latest/ml/deployment/deploy-model-locally. Raises Refusal (400).
    """
    asked = read_json(content)
    try:
        if "dataframe_split" in asked:
            columns, rows = asked["dataframe_split"]["columns"], asked["dataframe_split"]["data"]
            cells = [dict(zip(columns, row, strict=True)) for row in rows]
        else:
            cells = _column(next(asked[name] for name in ("dataframe_records", "inputs", "instances") if name in asked))
        cells = [cell if isinstance(cell, list) else [cell] for cell in map(_column, cells)]
    except (KeyError, TypeError, ValueError, StopIteration):
        raise Refusal(400, "expected dataframe_split, dataframe_records, inputs or instances with a column image") from None
    if not cells or not all(cells):
        raise Refusal(400, "there is no picture in it")
    return [[from_base64(text, where=f"row {row}") for text in cell] for row, cell in enumerate(cells)]


def _column(values: object) -> object:
    """Of columns, the one that MLflow's model takes: image, or the first; what has none is it already."""
    return values.get("image", next(iter(values.values()), None)) if isinstance(values, dict) else values
