"""What the names of a clip's frames say about its order: numbers that are left out, and numbers that come twice."""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

# Digits -> what they may say when they are a date or a time; what is longer ends in a fraction of a second.
_TIMES = {
    4: ("%M%S", "%H%M"),
    6: ("%H%M%S", "%y%m%d"),
    7: ("%Y%j",),
    10: ("%Y%m%d%H",),
    12: ("%y%m%d%H%M%S", "%Y%m%d%H%M"),
    14: ("%Y%m%d%H%M%S",),
}

_DATES = ("%Y%m%d", "%d%m%Y", "%m%d%Y")  # of days: some series have none on weekends and holidays

_ENDING = re.compile(r"\.(png|jpe?g|jpe|jfif|mpo|apng)$", re.IGNORECASE)


def order(paths: Sequence[str]) -> dict[str, str]:
    """`frame_gap`: the first number missing, `frame_twin`: the first that comes twice; left out where there is none.

    Numbers come twice when all numbers of a name do and all the text between them: `frame2.png`, `frame02.jpg`. A gap is told
    of a counter alone: the one number that varies rises by the same step most of the time, and else by a multiple of it.
    Thinned clips, timestamps, dates, several numbers that vary and a total beside the number are no gaps; neither is a carry
    between fields that are joined, as from second 9, frame 24 to second 10, frame 0 in `0924`, `1000`.
    """
    names = [re.split(r"(\d+)", _ENDING.sub("", path[-1000:])) for path in paths]  # text and number by turns
    usual = Counter(tuple(name[::2]) for name in names).most_common(1)[0][0]
    alike = [name for name in names if tuple(name[::2]) == usual]
    columns = [[name[field] for name in alike] for field in range(1, len(alike[0]), 2)]
    if not columns:
        return {}
    varying = [column for column in columns if len(set(map(int, column))) > 1]
    facts = {}
    exact = [tuple(_exact(name, field) for field in range(1, len(name), 2)) for name in alike]
    twins = [key for key, count in Counter(exact).items() if count > 1]
    if twins:
        facts["frame_twin"] = f"frame {int((varying or columns)[-1][exact.index(twins[0])])}"
    gaps = {_gap(list({int(number): number for number in column}.values())) for column in varying}
    others = {int(number) for name in names if tuple(name[::2]) != usual for number in name[1::2]}
    # Several numbers that vary are one counter only when they all miss the same frame; the slowest counts the frames.
    if gaps and None not in gaps and len({place for place, _ in gaps}) == 1:
        number = min(number for _, number in gaps)
        facts |= {} if number in others else {"frame_gap": f"frame {number}"}
    return facts


def _exact(name: list[str], field: int) -> str:
    """A number without the zeros in front of it, unless it is a fraction: 1.05 is not 1.5."""
    fraction = name[field - 1] == "." and field > 1
    return name[field] if fraction else name[field].lstrip("0")


def _gap(digits: list[str]) -> tuple[int, int] | None:
    """Place and number of what a counter leaves out; None where nothing is left out, or this is no counter."""
    numbers = [int(number) for number in digits]
    place = _left_out(numbers)
    if place is None or (len(digits[0]) == 8 and any(_parsed(digits, form, 8) for form in _DATES)):
        return None
    # What may be times has to leave one out as times, too: 235959 and 000000 follow each other, 20240131 and 20240201.
    for times in itertools.chain(_times(digits), _joined(numbers) if len(set(map(len, digits))) == 1 else []):
        place = _left_out(times)
        if place is None:
            return None
    return place, numbers[place] + min(after - before for before, after in itertools.pairwise(numbers))


def _times(digits: list[str]) -> Iterator[list[int]]:
    """The numbers as microseconds, in each way in which all of them are dates or times."""
    length = len(digits[0])
    if any(len(number) != length for number in digits):
        return
    for whole in (length, length - 3, length - 6):
        for form in _TIMES.get(whole, ()):
            if times := _parsed(digits, form, whole):
                yield times


def _parsed(digits: list[str], form: str, whole: int) -> list[int]:
    """The numbers as microseconds, when the first `whole` digits of each have this form and the others are a fraction; else none."""
    try:
        return [
            (datetime.strptime(number[:whole], form) - datetime(1900, 1, 1)) // timedelta(microseconds=1)
            + int(number[whole:].ljust(6, "0"))
            for number in digits
        ]
    except ValueError:
        return []


def _joined(numbers: list[int]) -> Iterator[list[int]]:
    """The numbers counted on, in each way in which they may be two fields, of which the lower one starts anew at a carry."""
    for base in (100, 1000):
        lows = [number % base for number in numbers]
        uppers = sorted({number // base for number in numbers})
        # Above it this may be one counter that leaves a frame out just where the upper digits change.
        if len(uppers) > 1 and max(lows) < 0.6 * base:
            three = _left_out(uppers) is not None  # fields: the upper number is two itself
            counts = next(_joined(uppers), uppers) if three else uppers
            count, least = dict(zip(uppers, counts, strict=True)), min(lows)
            radix = max(lows) - least + 1
            yield [count[number // base] * radix + low - least for number, low in zip(numbers, lows, strict=True)]


def _left_out(numbers: list[int]) -> int | None:
    """The place behind which a counter leaves the first number out."""
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    usual, count = Counter(steps).most_common(1)[0]
    if usual <= 0 or 2 * count <= len(steps) or any(step <= 0 or step % usual for step in steps):
        return None
    gaps = [place for place, step in enumerate(steps) if step > usual]
    return gaps[0] if gaps and not (len(gaps) > 1 and _is_thinned(numbers, usual)) else None


def _is_thinned(numbers: list[int], step: int) -> bool:
    """Whether a clip was thinned evenly to these frames: then nothing is missing. One number left out can be no thinning alone."""
    first, last, count = numbers[0], numbers[-1], len(numbers)
    places = [(last - first) / step * index / (count - 1) for index in range(count)]
    taken = [(number - first) // step for number in numbers]
    return any(taken == list(map(rule, places)) for rule in (round, int, math.ceil))
