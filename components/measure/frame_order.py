"""What the names and the pixels of a clip's frames say about its order: gaps, numbers that come twice, frames that repeat."""

import itertools
import re
from collections import Counter
from pathlib import PurePosixPath


def order(paths: list[str]) -> dict[str, str]:
    """`frame_gap`: the first number missing, `frame_twin`: the first that comes twice; left out where there is none.

    The number of a frame is the last one in its name. Numbers may rise by any one step: a clip that was thinned evenly has
    no gap.
    """
    found = [re.findall(r"\d+", PurePosixPath(path).stem) for path in paths]
    if not all(found):
        return {}
    numbers = sorted(int(several[-1]) for several in found)
    facts = {}
    twins = [number for number, count in Counter(numbers).items() if count > 1]
    if twins:
        facts["frame_twin"] = f"frame {twins[0]}"
    steps = [after - before for before, after in itertools.pairwise(numbers) if after > before]
    usual = Counter(steps).most_common(1)[0][0] if steps else 1
    gaps = [before + usual for before, after in itertools.pairwise(numbers) if after - before > usual]
    if gaps:
        facts["frame_gap"] = f"frame {gaps[0]}"
    return facts
