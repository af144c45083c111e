"""map.html: all samples as dots that a person moves through, with pictures, search and a legend; one file, no network."""

import base64
import colorsys
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from components.shared import files
from components.shared.page import render

SHOWN = 100_000  # dots: of more samples so many, drawn by chance
PICTURES = 20_000  # and of so many of them a picture: some 25 MB
FEW, SIDES = 8_000, (96, 64)  # pixels of a picture where there are so few, and where there are more
GROUPS = 200  # lines of the legend, the rest in one
NONE = "#9aa0ac"
# Petroff, "Accessible color sequences for data visualization", 2021: told apart by the colour-blind, too; greys last.
_TEN = ("#3f90da", "#ffa90e", "#bd1f01", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#92dadd", "#717581", "#94a4a2")
_ODD = {"the usual half": "#a9bcd6", "odder than 50 %": "#3f90da", "odder than 90 %": "#ffa90e", "odder than 99 %": "#bd1f01"}


def write(file: Path, samples: pa.Table, previews: Iterator[bytes | None], title: str) -> None:
    """Write the page; `samples`: source, label, split, cluster, outlier, x, y; `previews`: PNG or JPEG of each, in order.

    A sample without a place (NaN) is not on the map.
    """
    x, y, outlier = (samples[name].to_numpy().astype(np.float64) for name in ("x", "y", "outlier"))
    placed = np.flatnonzero(np.isfinite(x))
    rows = np.random.default_rng(0).permutation(placed)[:SHOWN]  # no class lies over all others because its name comes last
    xy = np.stack([x[rows], y[rows]], axis=1)
    xy -= xy.min(axis=0, initial=np.inf) if len(rows) else 0
    xy = (xy * (65_535 / max(xy.max(initial=0), 1e-9))).astype(np.uint16)
    pictures = _pictures(previews, rows)
    said = samples.take(pa.array(rows))
    facts = {
        "x": _packed(xy[:, 0]), "y": _packed(xy[:, 1]), "width": int(xy[:, 0].max(initial=1)), "height": int(xy[:, 1].max(initial=1)),
        "outlier": _packed((1000 * outlier[rows]).astype(np.uint16)),
        "starts": _packed(np.cumsum([0, *map(len, pictures)], dtype=np.uint32)),
        "sources": [render.plain(source) for source in said["source"].to_pylist()],
        "modes": _modes(said, outlier[rows]),
    }  # fmt: skip
    page = render.render(
        Path(__file__).with_name("map.html"), title=title, data=facts, pictures="".join(pictures),
        about=_about(len(samples), len(placed), len(rows), sum(map(bool, pictures))),
    )  # fmt: skip
    with files.whole_file(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _about(samples: int, placed: int, rows: int, pictures: int) -> str:
    said = f"{samples:,} samples" if rows == samples else f"{rows:,} of {samples:,} samples"
    said += ", drawn by chance" if rows < placed else ""
    said += f"; {samples - placed:,} have no vector" if placed < samples else ""
    return said + (f"; pictures of {pictures:,} of them, drawn by chance" if pictures < rows else "")


def _modes(samples: pa.Table, outlier: np.ndarray) -> list[dict]:
    """What colours can say: a group for each sample, most frequent first, none last; and how odd it is, in steps."""
    columns = {"label": samples["label"], "cluster": samples["cluster"], "split": samples["split"]}
    modes = []
    for title, column in columns.items():
        if title == "cluster":
            column = pa.array([None if number < 0 else f"cluster {number + 1}" for number in column.to_pylist()], pa.string())
        counts = sorted(pc.value_counts(column.drop_null()).to_pylist(), key=lambda each: -each["counts"])
        if not counts and title != "label":
            continue
        values = [each["values"] for each in counts]
        none = column.null_count > 0
        codes = pc.fill_null(pc.index_in(column, pa.array(values, pa.string())), len(values)).to_numpy().astype(np.uint32)
        names = [render.plain(value) for value in values] + [f"no {title}"] * none
        colours = _colours(len(values)) + [NONE] * (none or len(values) > GROUPS)
        modes.append(
            {"title": title, "names": names, "codes": _packed(codes), "colours": colours, "bare": [len(values)] if none else []}
        )
    steps = np.digitize(outlier, [0.5, 0.9, 0.99]).astype(np.uint32)
    modes.append(
        {"title": "outlier", "names": list(_ODD), "codes": _packed(steps), "colours": list(_ODD.values()), "bare": [0, 1, 2, 3]}
    )
    return modes


def _colours(count: int) -> list[str]:
    """For many classes hues by the golden angle: neighbours in the legend are far apart."""
    if count <= len(_TEN):
        return list(_TEN[:count])
    many = [
        colorsys.hls_to_rgb(0.618034 * number % 1, (0.45, 0.62, 0.54)[number % 3], 0.65) for number in range(min(count, GROUPS))
    ]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in many]


def _packed(values: np.ndarray) -> str:
    """Little-endian bytes in base64, as typed arrays of a browser read them."""
    return base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()


def _pictures(previews: Iterator[bytes | None], rows: np.ndarray) -> list[str]:
    """Of each row a small WebP in base64; empty where there is none, and beyond PICTURES."""
    wanted = {int(row): place for place, row in enumerate(rows[:PICTURES])}
    pictures, side = [""] * len(rows), SIDES[len(wanted) > FEW]
    for row, content in enumerate(previews):
        if content and row in wanted:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                image.thumbnail((side, side))
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, "WEBP", quality=70, method=2)
            pictures[wanted[row]] = base64.b64encode(buffer.getvalue()).decode()
    return pictures
