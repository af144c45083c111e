"""One look for all pictures that the steps draw. Matplotlib is imported when the first is drawn."""

import contextlib
import functools
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from components.shared import files

INK, BLUE, ORANGE = "#1f2430", "#3566b8", "#d9822b"
# For the scripts that Matplotlib's own font lacks, those of the usual systems that are installed.
_FONTS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Noto Sans KR", "WenQuanYi Zen Hei", "PingFang SC",
    "Hiragino Sans", "Apple SD Gothic Neo", "Microsoft YaHei", "Malgun Gothic", "Yu Gothic", "Arial Unicode MS",
    "Noto Sans Devanagari", "Noto Sans Thai", "Noto Sans Bengali", "Noto Sans Tamil", "Noto Emoji", "Symbola",
)  # fmt: skip


@contextlib.contextmanager
def figure(file: Path, *, width: float, height: float, rows: int = 1, columns: int = 1, title: str = "") -> Iterator:
    """Yield the axes (one, or an array of rows x columns) and save them as a PNG; sizes in inches.

    Text is drawn as it is: `$` begins no formula, a character that no font has is no warning.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {"axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "font.size": 9,
             "axes.edgecolor": "#8a90a0", "axes.titlesize": 10, "font.family": ["DejaVu Sans", *_installed()],
             "text.parse_math": False, "text.usetex": False}  # fmt: skip
    with plt.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"constrained_layout not applied")  # names wider than the picture
        drawn, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained")
        if title:
            drawn.suptitle(title)
        try:
            yield axes
            with files.whole_file(file) as temporary:
                # Without the version and date in it, the same drawing is the same bytes.
                drawn.savefig(temporary, format="png", dpi=130, metadata={"Software": None})
        finally:
            plt.close(drawn)


@contextlib.contextmanager
def grid(file: Path, samples: Sequence[tuple], *, columns: int, width: float, height: float) -> Iterator:
    """Yield the axes of a picture for each (image, title), at most `columns` in a row; sizes of one in inches."""
    columns = min(columns, max(1, len(samples)))
    rows = max(1, -(-len(samples) // columns))
    with figure(file, width=width * columns, height=height * rows, rows=rows, columns=columns) as axes:
        axes = list(axes.flat) if rows * columns > 1 else [axes]
        for axis in axes:
            axis.axis("off")
        for axis, (image, title) in zip(axes, samples, strict=False):
            pixels = _middle(image)
            axis.imshow(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
            axis.set_title(title, color=INK, fontsize=8)
        yield axes


def _middle(image):
    """The picture that stands for a sample, uint8 (h, w, c): the still itself, or the middle of a clip's frames without padding."""
    if image.ndim == 3:
        return image
    shown = image.any(axis=(1, 2, 3)).nonzero()[0]
    return image[shown[len(shown) // 2] if len(shown) else 0]


def label(name: str, width: int = 40) -> str:
    r"""A class name in one line of at most `width` columns, shortened in the middle; what cannot be seen is spelled out.

    That is control characters, line ends, marks that turn the direction of writing, and what no font has: `\u732b`.
    """
    drawable = _drawable()
    seen = "".join(c if c == " " or (c.isprintable() and ord(c) in drawable) else ascii(f"_{c}")[2:-1] for c in name)
    seen = seen if seen.strip() else repr(name)
    if _columns(seen) <= width:
        return seen
    head, tail = (width - 1) - (width - 1) // 2, (width - 1) // 2
    return _cut(seen, head) + "\u2026" + _cut(seen[::-1], tail)[::-1]


def legend(axis, names: list[str], **options) -> None:
    """A legend of the axis's lines in order; Matplotlib itself leaves out names that begin with an underscore."""
    made = axis.legend(axis.get_lines(), ["x"] * len(names), **options)
    for text, name in zip(made.get_texts(), names, strict=True):
        text.set_text(name)


def _cut(text: str, width: int) -> str:
    while _columns(text) > width:
        text = text[:-1] if len(text) < 2 * width else text[: 2 * width - 1]
    return text


def _columns(text: str) -> int:
    """How wide it is: characters of East Asia take two columns, each other one."""
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


@functools.cache
def _drawable() -> frozenset[int]:
    from matplotlib import font_manager

    fonts = (font_manager.get_font(font_manager.findfont(name)) for name in ("DejaVu Sans", *_installed()))
    return frozenset(character for font in fonts for character in font.get_charmap())


@functools.cache
def _installed() -> list[str]:
    from matplotlib import font_manager

    there = set(font_manager.get_font_names())
    return [name for name in _FONTS if name in there]
