"""What an ingest takes, printed before it is taken: form, classes, splits, groups, examples, and what is left out and why."""

from collections import Counter
from dataclasses import dataclass, field

from components.ingest.form import Reading
from components.ingest.sample_reader import escaped, is_clip
from components.ingest.source import LeftOut, Source

_CLASSES = 20  # that are listed; of the others only how many
_EXAMPLES = 3


@dataclass
class Summary:
    """The samples of a source, counted without reading a picture."""

    samples: int = 0
    clips: int = 0  # of several frames
    classes: Counter = field(default_factory=Counter)
    splits: Counter = field(default_factory=Counter)
    groups: set[int] = field(default_factory=set)  # their hashes
    examples: dict[str, list[str]] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)


def summary_of(source: Source) -> Summary:
    """Go through the samples once. Raises Refused with what is wrong with them."""
    summary = Summary()
    for entry in source.entries(summary.left_out):
        summary.samples += 1
        summary.clips += is_clip(entry)
        summary.classes[entry.label] += 1
        summary.splits[entry.split or "drawn by prepare"] += 1
        if entry.group is not None:
            summary.groups.add(hash(entry.group))
        examples = summary.examples.setdefault(entry.label, [])
        if len(examples) < _EXAMPLES:
            examples.append(entry.source)
    return summary


def tell(reading: Reading, summary: Summary) -> None:
    """Print it, a line for each thing that a person would check."""
    print(f"form      {reading.form}: {reading.source.what} ({reading.why})")
    kinds = {"stills": summary.samples - summary.clips, "clips": summary.clips}
    what = " and ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
    print(f"samples   {what} in {len(summary.classes):,} classes")
    for label, count in summary.classes.most_common(_CLASSES):
        examples = ", ".join(escaped(name) for name in summary.examples[label])
        print(f"          {escaped(str(label))} {count:,}: {examples}{', …' if count > _EXAMPLES else ''}")
    if len(summary.classes) > _CLASSES:
        print(f"          … and {len(summary.classes) - _CLASSES:,} classes more")
    if set(summary.splits) != {"drawn by prepare"}:
        print("splits    " + ", ".join(f"{name} {count:,}" for name, count in summary.splits.items()))
    if summary.groups:
        print(f"groups    {len(summary.groups):,}")
    for left_out in (reading.hidden, summary.left_out):
        for line in left_out.lines():
            print(line)
