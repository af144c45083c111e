"""What an ingest takes, printed before it is taken: form, classes, splits, groups, examples, and what is left out and why."""

import textwrap
from collections import Counter
from dataclasses import dataclass, field

from components.ingest.form import Reading
from components.ingest.sample_reader import escaped, is_animation, is_clip
from components.ingest.source import LeftOut, Source

_CLASSES = 20  # that are listed; of the others only how many
_EXAMPLES = 3
_WIDTH = 100  # columns
_DRAWN = "drawn by prepare"
_SPLITS = ("train", "validation", "test", _DRAWN)
_FEW = 10  # so many times more stills than animations: these are stills, too


@dataclass
class Summary:
    """The samples of a source, counted without reading a picture."""

    samples: int = 0
    clips: int = 0  # of several frames
    animations: int = 0  # pictures that move
    first_frames: bool = False  # of an animation the first frame is taken
    classes: Counter = field(default_factory=Counter)
    splits: Counter = field(default_factory=Counter)
    groups: set[int] = field(default_factory=set)  # their hashes
    examples: dict[str, list[str]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)


def summary_of(source: Source, kind: str = "auto") -> Summary:
    """Go through the samples once. `kind`: what animations are, where it is not auto. Raises Refused with what is wrong."""
    summary = Summary()
    for entry in source.entries(summary.left_out):
        summary.samples += 1
        summary.clips += is_clip(entry)
        summary.animations += is_animation(entry)
        summary.classes[entry.label] += 1
        summary.splits[entry.split or _DRAWN] += 1
        if entry.group is not None:
            summary.groups.add(hash(entry.group))
        examples = summary.examples.setdefault(entry.label, [])
        if len(examples) < _EXAMPLES:
            examples.append(entry.source)
    stills = summary.samples - summary.clips - summary.animations
    summary.first_frames = kind == "stills" or (kind == "auto" and summary.animations * _FEW <= stills)
    summary.clips += 0 if summary.first_frames else summary.animations
    return summary


def tell(reading: Reading, summary: Summary) -> None:
    """Print it, a line for each thing that a person would check, in columns of a terminal."""
    _print("form", f"{reading.form}: {reading.source.what} ({reading.why})")
    kinds = {"stills": summary.samples - summary.clips, "clips": summary.clips}
    what = " and ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    _print("samples", f"{what} in {len(summary.classes):,} class{'es' if len(summary.classes) != 1 else ''}")
    if summary.animations and summary.first_frames:
        _print("", f"of {summary.animations:,} animations the first frame is taken; --kind clips takes all their frames")
    for label, count in summary.classes.most_common(_CLASSES):
        head = f"{_short(escaped(str(label)), _WIDTH // 2)} {count:,}:"
        width = (_WIDTH - 10 - len(head) - 3) // _EXAMPLES - 2  # so that a class is one line
        examples = ", ".join(_short(escaped(name), width) for name in summary.examples[label])
        _print("", f"{head} {examples}{', …' if count > _EXAMPLES else ''}")
    if len(summary.classes) > _CLASSES:
        rest = summary.classes.most_common()[_CLASSES:]
        _print("", f"… and {len(rest):,} classes more, of {rest[0][1]:,} down to {rest[-1][1]:,} samples")
    _print("splits", ", ".join(f"{name} {summary.splits[name]:,}" for name in _SPLITS if name in summary.splits))
    if summary.groups:
        _print("groups", f"{len(summary.groups):,}")
    for left_out in (reading.hidden, summary.left_out):
        for line in left_out.lines():
            print(line)


def _print(head: str, text: str) -> None:
    indent = f"{head:<10}"
    print(textwrap.fill(text, _WIDTH, initial_indent=indent, subsequent_indent=" " * 12,
                        break_long_words=False, break_on_hyphens=False))  # fmt: skip


def _short(name: str, width: int) -> str:
    """A name with its end, which is what tells it from others."""
    return name if len(name) <= width else f"…{name[1 - width :]}"
