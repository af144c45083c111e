"""map.html: all samples as dots that a person moves through, with pictures, search and a legend; one file, no network."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from components.shared import files
from components.shared.page import render
from components.shared.plots import BLUE, ORANGE, SKY

SHOWN = 100_000  # dots: of more samples so many, drawn by chance
PICTURES = 22 * 2**20  # letters of pictures: of more samples so many have one, drawn by chance
FEW, SIDES = 8_000, (96, 64)  # pixels of a picture where samples are so few, and where there are more
GROUPS = 200  # lines of the legend, the rest in one
NONE = "var(--none)"  # says nothing: a grey that suits the ground
# The first three are of all pages; the others were searched for to lie farthest apart (OKLab) in normal eyes and in such as lack
# red, green or blue (Machado, Oliveira and Fernandes, 2009), and to be seen on white and on black.
PALETTE = (BLUE, ORANGE, SKY, "#e7a929", "#9a2a1e", "#7c3b77", "#af87a1", "#637060", "#b0bc91", "#8d6afe")
_SPLITS = {"train": BLUE, "validation": SKY, "test": ORANGE}
_ODD = {"the usual half": NONE, "odder than 50%": SKY, "odder than 90%": BLUE, "odder than 99%": ORANGE}
_NEXT = {
    "to label: first 10": ORANGE,
    "to label: up to 100": BLUE,
    "to label: up to 1,000": SKY,
    "later, or labelled": NONE,
}


def write(file: Path, samples: pa.Table, previews: Iterator[bytes | None], title: str) -> None:
    """Write the page; `samples`: source, label, split, cluster, outlier, x, y, label_next; `previews`: PNG or JPEG of each, in order.

    A sample without a place (null or NaN) is not on the map.
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
        "modes": _modes(said, outlier[rows]), "palette": PALETTE,
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
    """What colours can say: a group for each sample, the most frequent first and none last, or in steps."""
    numbers = [None if number is None or number < 0 else f"cluster {number + 1}" for number in samples["cluster"].to_pylist()]
    modes = []
    for title, column in (
        ("label", samples["label"]),
        ("cluster", pa.array(numbers, pa.string())),
        ("split", samples["split"]),
    ):
        counts = sorted(pc.value_counts(column.drop_null()).to_pylist(), key=lambda each: (-each["counts"], each["values"]))
        if not counts and title != "label":
            continue
        values, without = [each["values"] for each in counts], column.null_count > 0
        codes = pc.fill_null(pc.index_in(column, pa.array(values, pa.string())), len(values)).to_numpy()
        names = [render.plain(value) for value in values] + [f"no {title}"] * without
        colours = [_SPLITS.get(value) if title == "split" else None for value in values[:GROUPS]]
        colours = [colour or PALETTE[place % len(PALETTE)] for place, colour in enumerate(colours)]
        colours += [NONE] * (without or len(values) > GROUPS)
        modes.append(_mode(title, names, codes, colours, none=len(values), named=True))
    modes.append(_mode("outlier", list(_ODD), np.digitize(outlier, [0.5, 0.9, 0.99]), list(_ODD.values()), top=[2, 3]))
    order = pc.fill_null(samples["label_next"], -1).to_numpy()
    if (order >= 0).any():
        steps = np.where(order < 0, 3, np.digitize(order, [10, 100]))
        modes.append(_mode("next", list(_NEXT), steps, list(_NEXT.values()), none=3, top=[0, 1]))
    return modes


def _mode(title: str, names: list[str], codes: np.ndarray, colours: list[str], *, none: int = -1, named=False, top=()) -> dict:
    """`none`: the group that says nothing; `named`: names stand on the map; `top`: groups that lie over the others."""
    packed = _packed(codes.astype(np.uint32))
    return {"title": title, "names": names, "codes": packed, "colours": colours, "none": none, "named": named, "top": top}


def _packed(values: np.ndarray) -> str:
    """Little-endian bytes in base64, as typed arrays of a browser read them."""
    return base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).tobytes()).decode()


def _pictures(previews: Iterator[bytes | None], rows: np.ndarray) -> list[str]:
    """Of each row a small WebP in base64; empty where there is none, and beyond PICTURES."""
    places = {int(row): place for place, row in enumerate(rows)}
    pictures, side = [""] * len(rows), SIDES[len(rows) > FEW]
    for row, content in enumerate(previews):
        if content and row in places:
            with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as image:
                image.thumbnail((side, side))
                buffer = io.BytesIO()
                image.convert("RGB").save(buffer, "WEBP", quality=70, method=2)
            pictures[places[row]] = base64.b64encode(buffer.getvalue()).decode()
    return [picture if end <= PICTURES else "" for picture, end in zip(pictures, np.cumsum([*map(len, pictures)]), strict=True)]
