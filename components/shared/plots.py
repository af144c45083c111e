"""One look for all pictures that the steps draw. Matplotlib is imported when the first is drawn."""

import contextlib
import functools
import logging
import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from components.shared import files

# The palette of all pictures: told apart by who does not see red or green, and in grey. Orange is what is wrong.
INK, GREY, PALE, BLUE, SKY, ORANGE = "#1f2430", "#767d8f", "#eceef2", "#3566b8", "#8fb3e6", "#c8640a"
MISTAKES, HEAT = "Oranges", "inferno"  # colour maps
_FONT = "DejaVu Sans"  # Matplotlib's own
_STYLE = {
    "font.family": [_FONT], "font.size": 9, "figure.titlesize": 11, "figure.titleweight": "bold", "axes.titlesize": 9,
    "text.color": INK, "axes.labelcolor": INK, "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.edgecolor": GREY,
    "xtick.color": GREY, "ytick.color": GREY, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False,
    "image.cmap": "gray", "text.parse_math": False, "text.usetex": False,
}  # fmt: skip
_NO_FONT = ("Last Resort",)  # has a box for every character


@contextlib.contextmanager
def figure(file: Path, *, width: float, height: float, rows: int = 1, columns: int = 1, title: str = "") -> Iterator:
    """Yield the axes (one, or an array of rows x columns) and save them as a PNG; sizes in inches.

    The title says what was found, and of which model; it is wrapped. Text is drawn as it is: `$` begins no formula, and each
    text has the installed fonts that its characters need.
    """
    import matplotlib
    from matplotlib.figure import Figure  # not by way of pyplot, which takes as long to load as all else of Matplotlib

    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # a font that has but one weight is good enough

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        warnings.filterwarnings("ignore", message=r"constrained_layout not applied")  # names wider than the picture
        drawn = Figure((width, height), layout="constrained")
        axes = drawn.subplots(rows, columns)
        lines = [line for each in title.split("\n") for line in _wrapped(each, int(9 * width))]
        drawn.suptitle("\n".join(lines), x=0.01, horizontalalignment="left")
        yield axes
        for text in drawn.findobj(matplotlib.text.Text):
            text.set_fontfamily(
                [_FONT, *sorted({font for c in text.get_text() if (font := _font_with(c)) not in (None, _FONT)})]
            )
        with files.whole_file(file) as temporary:
            # Without the version and date in it, the same drawing is the same bytes.
            drawn.savefig(temporary, format="png", dpi=130, metadata={"Software": None})


@contextlib.contextmanager
def grid(
    file: Path, samples: Sequence[tuple], *, columns: int, width: float, title: str = "", beside: float = 0
) -> Iterator[tuple]:
    """A picture for each (image, title), at most `columns` in a row; `width` of one in inches. Yields (axes, places).

    A row is as high as its picture and the longest title. All lie on one axes, in inches from its lower left corner: axes of
    their own would take many times as long. `places`: (left, right, bottom, top) of each picture, the `extent` of what is laid
    over it. `beside`: inches left free on the right.
    """
    above = 0.2 + 0.14 * max((name.count("\n") + 1 for _, name in samples), default=0)  # lines of small print
    columns = min(columns, max(1, len(samples)))
    wide, height, places = width * columns + beside, (width + above) * max(1, -(-len(samples) // columns)), []
    with figure(file, width=wide, height=0.3 + height, title=title) as axis:
        for index, (image, name) in enumerate(samples):
            row, column = divmod(index, columns)
            pixels = _middle(image)
            scale = 0.95 * width / max(pixels.shape[:2])
            middle, half, top = width * (column + 0.5), scale * pixels.shape[1] / 2, height - (width + above) * row - above
            places.append((middle - half, middle + half, top - scale * pixels.shape[0], top))
            show(axis, pixels, extent=places[-1])
            axis.text(middle, top + 0.08, name, fontsize=8, ha="center")
        axis.axis("off")
        axis.set(xlim=(0, wide), ylim=(0, height))
        yield axis, places


def show(axis, pixels: np.ndarray, **options) -> None:
    """Draw uint8 (h, w, 1 or 3)."""
    axis.imshow(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, vmin=0, vmax=255, **options)


def sheet(file: Path, rows: Sequence[tuple], heads: Sequence[str], *, height: float = 0.8, title: str = "") -> None:
    """A picture of many: in each row a name beside its samples, of one size in all rows; heads above the first columns.

    `rows`: (name, uint8 (n, h, w, c) or (n, frames, h, w, c)); `height`: of a row, in inches. Names are wrapped, not cut.
    """
    tiles = np.stack([[_middle(image) for image in images] for _, images in rows])  # (rows, n, h, w, c)
    gap = max(1, tiles.shape[2] // 16)
    tiles = np.pad(tiles, ((0, 0), (0, 0), (0, gap), (0, gap), (0, 0)), constant_values=255)
    count, columns, tall, wide, channels = tiles.shape
    canvas = tiles.transpose(0, 2, 1, 3, 4).reshape(count * tall, columns * wide, channels)
    names = [label(name, 24, int(height / 0.15)) for name, _ in rows]  # as many lines of small print
    beside = 0.08 * max(_columns(line) for name in names for line in name.split("\n"))
    with figure(file, width=0.3 + beside + height * columns * wide / tall, height=0.8 + height * count, title=title) as axis:
        show(axis, canvas)
        axis.set_yticks([tall * (row + 0.5) for row in range(count)], names, fontsize=8)
        axis.set_xticks([wide * (column + 0.5) for column in range(len(heads))], heads, fontsize=8)
        axis.tick_params(length=0, labeltop=True, labelbottom=False)
        axis.spines[:].set_visible(False)


def _middle(image):
    """The picture that stands for a sample, uint8 (h, w, c): the still itself, or the middle of a clip's frames without padding."""
    if image.ndim == 3:
        return image
    shown = image.any(axis=(1, 2, 3)).nonzero()[0]
    return image[shown[len(shown) // 2] if len(shown) else 0]


def label(name: str, width: int = 40, lines: int = 1) -> str:
    r"""A class name in lines of at most `width` columns, wrapped where words end, and shortened in the middle if it needs more lines.

    What cannot be seen is spelled out: control characters, line ends, marks that turn the direction of writing, and what no
    font has: `\u732b`.
    """
    seen = "".join(c if c == " " or (c.isprintable() and _font_with(c)) else ascii(f"_{c}")[2:-1] for c in name)
    seen = seen if seen.strip() else repr(name)
    for room in range(width * lines, 0, -1):  # words that end early leave room at the ends of lines
        wrapped = _wrapped(_shortened(seen, room), width)
        if len(wrapped) <= lines:
            break
    return "\n".join(wrapped)


def _shortened(text: str, width: int) -> str:
    if _columns(text) <= width:
        return text
    head, tail = (width - 1) - (width - 1) // 2, (width - 1) // 2
    return _cut(text, head) + "\u2026" + _cut(text[::-1], tail)[::-1]


def _wrapped(text: str, width: int) -> list[str]:
    """Lines that end behind a space, a hyphen, an underscore or a slash where one is in their second half."""
    lines = []
    while _columns(text) > width:
        line = _cut(text, width)
        end = max(line.rfind(mark) for mark in " -_/") + 1
        line = line[:end] if 2 * end > len(line) else line
        lines.append(line.rstrip())
        text = text[len(line) :].lstrip()
    return [*lines, text]


def legend(axis, **options) -> None:
    """What the lines or bars of an axis are, below the whole picture: there it covers nothing."""
    handles, names = axis.get_legend_handles_labels()
    axis.figure.legend(handles, names, **{"loc": "outside lower center", "ncols": len(names)} | options)


def _cut(text: str, width: int) -> str:
    while _columns(text) > width:
        text = text[:-1] if len(text) < 2 * width else text[: 2 * width - 1]
    return text


def _columns(text: str) -> int:
    """How wide it is: characters of East Asia take two columns, each other one."""
    return sum(2 if unicodedata.east_asian_width(character) in "FW" else 1 for character in text)


@functools.cache
def _font_with(character: str) -> str | None:
    """The family of an installed font that has it, Matplotlib's own before others; says once that there is none."""
    for family in _families():
        if ord(character) in _characters(family):
            return family
    if character.isprintable():
        _say_missing(character)
    return None


_said: list[str] = []


def _say_missing(character: str) -> None:
    if not _said:
        print(f"plots: no font on this machine has {unicodedata.name(character, ascii(character))}; pictures spell such characters "
              "out, as \\u732b; install a font of that script (Debian: fonts-noto-core, fonts-noto-cjk)")  # fmt: skip
        _said.append(character)


@functools.cache
def _characters(family: str) -> frozenset[int]:
    from matplotlib import font_manager

    # Of the face that Matplotlib draws with: an italic or a bold one may have fewer.
    file = font_manager.findfont(font_manager.FontProperties(family=[family]))
    try:
        return frozenset(font_manager.get_font(file).get_charmap())
    except (OSError, RuntimeError):  # broken, or of a kind that Matplotlib does not draw, as coloured bitmaps
        return frozenset()


@functools.cache
def _families() -> list[str]:
    """Sans serif ones first; by name, so that the same machine draws the same."""
    from matplotlib import font_manager

    there = {name for name in font_manager.get_font_names() if not name.startswith(_NO_FONT)}
    return [_FONT, *sorted(there - {_FONT}, key=lambda name: ("Sans" not in name, name))]
