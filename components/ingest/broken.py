"""Files that cannot be read: all are named together, or they are left out and listed in a folder of quarantine."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from components.ingest.sample_reader import Reader, escaped
from components.ingest.source import Entry, LeftOut
from components.shared import destination, files
from components.shared.data.dataset import Sample
from components.shared.errors import Refused

_COLUMNS = ["code", "source", "label", "reason"]


class Broken:
    """What could not be read of a source, and of which classes something could.

    `quarantine`: the folder whose `ingest.csv` lists what is left out; without one, what cannot be read is refused.
    """

    def __init__(self, quarantine: str, left_out: LeftOut, inputs: Iterable[Path]) -> None:
        self.list = Path(quarantine) / "ingest.csv" if quarantine else None
        self.left_out, self.rows, self.there, self.lost = left_out, [], Counter(), Counter()
        if self.list:
            place = self.list.parent.resolve()
            destination.refuse_inside_ours(f"--quarantine {quarantine}", (place, *place.parents))
            destination.check_file(self.list, ours=_is_list, inputs=inputs)

    def read(self, entries: Iterable[Entry], reader: Reader) -> Iterator[Sample]:
        """The samples that can be read. Raises Refused at the end, with all others unless they are left out; with lost classes always."""
        for entry in entries:
            try:
                sample = reader.read(entry)
            except Refused as refused:
                code, _, reason = refused.faults[0].partition(" ")
                self.rows.append([code, entry.source, entry.label, reason.removeprefix(f"{escaped(entry.source)}: ")])
                self.lost[entry.label] += 1
                if self.list:
                    self.left_out.add(
                        code, f"samples that cannot be read, left out: see {self.list}", entry.source, entry.label
                    )
                continue
            self.there[entry.label] += 1
            if self.list or not self.rows:  # else nothing is written, and the way on is for the names alone
                yield sample
        if self.list and self.rows:
            with (
                files.whole_file(self.list, ours=_is_list) as temporary,
                temporary.open("w", newline="", encoding="utf-8") as file,
            ):
                csv.writer(file).writerows([_COLUMNS, *(map(files.no_formula, row) for row in self.rows)])
        lost = [f"E_CLASS_LOST {escaped(label)}: a class of which no sample can be read ({count:,})"
                for label, count in self.lost.items() if label not in self.there]  # fmt: skip
        if lost or (self.rows and not self.list):
            way_out = f"{len(self.rows):,} cannot be read: get them again, or --quarantine FOLDER leaves them out and lists them there"
            named = [f"{code} {escaped(source)}: {reason}" for code, source, _, reason in self.rows]
            raise Refused(*([] if self.list else [*named, way_out]), *lost)


def _is_list(file: Path) -> bool:
    with file.open(encoding="utf-8") as stream:
        return stream.readline().strip() == ",".join(_COLUMNS)
