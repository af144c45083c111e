"""One look for all pictures that the steps draw. Matplotlib is imported when the first is drawn."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from components.shared import files

INK, BLUE, ORANGE = "#1f2430", "#3566b8", "#d9822b"


@contextlib.contextmanager
def figure(file: Path, *, width: float, height: float, rows: int = 1, columns: int = 1, title: str = "") -> Iterator:
    """Yield the axes (one, or an array of rows x columns) and save them as a PNG; sizes in inches."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    style = {"axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "font.size": 9,
             "axes.edgecolor": "#8a90a0", "axes.titlesize": 10}  # fmt: skip
    with plt.rc_context(style):
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


def picture(axis, pixels, *, title: str = "", colour: str = INK) -> None:
    """Show uint8 (h, w, 1|3) without axes."""
    axis.imshow(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, cmap="gray", vmin=0, vmax=255)
    axis.set_title(title, color=colour, fontsize=8)
    axis.axis("off")
