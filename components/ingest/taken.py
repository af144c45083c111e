"""What an ingest takes, printed before it is taken: form, classes, splits, groups, examples, and what is left out and why."""

from collections import Counter
from dataclasses import dataclass, field

from components.ingest.form import Reading
from components.ingest.sample_reader import escaped, is_animation, is_clip
from components.ingest.source import LeftOut, Source
from components.shared.screen import number, wrapped

_CLASSES = 20  # that are listed; of the others only how many
_EXAMPLES = 3
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
    kinds = {"still": summary.samples - summary.clips, "clip": summary.clips}
    what = " and ".join(number(count, kind) for kind, count in kinds.items() if count)
    _print("samples", f"{what} in {number(len(summary.classes), 'class', 'classes')}")
    if summary.animations and summary.first_frames:
        _print("", f"of {number(summary.animations, 'animation')} the first frame is taken; --kind clips takes all frames")
    for label, count in summary.classes.most_common(_CLASSES):
        examples = ", ".join(map(escaped, summary.examples[label]))
        _print("", f"{escaped(str(label))} {count:,}: {examples}{', …' if count > _EXAMPLES else ''}")
    if len(summary.classes) > _CLASSES:
        rest = summary.classes.most_common()[_CLASSES:]
        samples = f"{rest[0][1]:,} down to {rest[-1][1]:,} samples"
        _print("", f"… and {number(len(rest), 'class', 'classes')} more, of {samples}")
    _print("splits", ", ".join(f"{name} {summary.splits[name]:,}" for name in _SPLITS if name in summary.splits))
    if summary.groups:
        _print("groups", f"{len(summary.groups):,}")
    for left_out in (reading.hidden, summary.left_out):
        left_out.tell()


def _print(head: str, text: str) -> None:
    print(wrapped(text, f"{head:<10}", indent=12))
