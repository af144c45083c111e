"""What a form is: a layout that a labelling tool, competition or hub exports. And which one a source has."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from components.ingest.archive import unread
from components.ingest.listing import Listing
from components.ingest.source import LeftOut, Source
from components.shared.errors import CannotRun, Refused, Stop
from components.shared.screen import number

# How well a form fits: it could be read so; the layout as a whole is such; a file that only its maker writes says so;
# the pictures themselves are in such a file.
COULD, FITS, MARKED, HELD = 1, 2, 3, 4


class Fit(NamedTuple):
    """How well a form fits a source, and what in it says so: `_classes.csv in each of train, valid, test`."""

    strength: int
    why: str


@dataclass(frozen=True)
class Options:
    """What a person says of how to read: see the help of `darkroom ingest`."""

    kind: str = "auto"
    label_field: str = ""  # the column or field that has it
    crop_boxes: bool = False
    label_level: int = 0  # 0: by evidence
    unasked: str = ""  # the form that is read, where no person chose it


class Form(NamedTuple):
    """One row of the table of forms. `fit` looks at names and at first lines of tables alone; `read` may open anything.

    `read` raises Refused with every fault of the person's files, CannotRun for what is ambiguous.
    """

    name: str
    what: str
    example: str
    fit: Callable[[Listing], Fit | None]
    read: Callable[[Listing, Options], Source]
    fields: bool = False  # `Options.label_field` says which of several has the label
    boxes: bool = False  # `Options.crop_boxes` makes a still of each box


class Reading(NamedTuple):
    """What was understood: the form's name, why, the source as it is read so, and what was left out by its name alone."""

    form: str
    why: str
    source: Source
    hidden: LeftOut


def understand(named: Path, forms: Mapping[str, Form], options: Options, *, asked: str = "") -> Reading:
    """Take the form that fits best, or the one that was asked for.

    Raises CannotRun where two fit equally well, with both; or where none does, with what lies there; Refused for nothing at all.
    """
    try:
        if not named.exists():
            raise CannotRun(f"{named}: no such file or folder")
        listing = Listing(named)
        fits = {name: fit for name, form in forms.items() if (not asked or name == asked) and (fit := form.fit(listing))}
    except (OSError, ValueError) as error:
        raise CannotRun(f"{named}: cannot be read ({error})") from None
    if listing.faults:
        raise Refused(*listing.faults)
    if not fits:
        raise _nothing_fits(listing, named, asked)
    best = max(fit.strength for fit in fits.values())
    # Records beside pictures that a table names: which of the two is meant, the files do not tell.
    least = min(best, MARKED) if listing.pictures else best
    names = [name for name, fit in fits.items() if fit.strength >= least]
    if len(names) > 1:
        readings = (f"  --form {name}: {forms[name].what} ({fits[name].why})" for name in names)
        raise CannotRun(f"{named}: can be read in {len(names)} ways; choose one:", *readings)
    (name,) = names
    read_as = f"{named} is read as {name}, which has no"
    if options.crop_boxes and not forms[name].boxes:
        raise CannotRun(f"--crop-boxes: {read_as} boxes; leave it out")
    if options.label_field and not forms[name].fields:
        raise CannotRun(f"--label-field {options.label_field}: {read_as} fields to choose from; leave it out")
    options = replace(options, unasked="" if asked else name)
    return Reading(name, fits[name].why, forms[name].read(listing, options), listing.left_out)


def _nothing_fits(listing: Listing, named: Path, asked: str) -> Stop:
    """What lies in a source that has no form, in a few words, and what would make one of it."""
    others = listing.others()
    if not (listing.pictures or others):
        return Refused(f"E_NO_DATA {named}: nothing in it that could be read")
    if not (others or asked):
        return CannotRun(f"{named}: pictures without labels; put each class into a folder of its own, or add a table")
    if not asked and (packed := next(filter(None, map(unread, others[:100])), "")):
        return CannotRun(packed)
    what = f"is not of the form {asked}" if asked else "has no form that is known"
    if not listing.file:
        names = ", ".join(repr(listing.relative(file)) for file in others[:5]) + (" …" if len(others) > 5 else "")
        what += f"; in it lie {number(listing.pictures, 'picture or video', 'pictures and videos')}, {number(len(others), 'other file')}"
        what += f" ({names})" if names else ""
    return CannotRun(f"{named}: {what}; `darkroom ingest --help` lists the forms")
