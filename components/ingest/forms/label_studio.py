"""Label Studio's exports CSV and JSON-MIN of one choice per picture; who labelled, when and how fast is left."""

import json
import re
from pathlib import Path
from urllib.parse import unquote

from components.ingest import columns, sheet
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing, head
from components.ingest.rows import source_of
from components.ingest.source import Source
from components.shared.errors import CannotRun

EXAMPLE = """\
project-3.json     [{"image": "/data/upload/3/1a2b3c4d-1.jpg", "choice": "cat", "annotator": 1, …}]
images/1.jpg"""
# What says of a row who made it, and how; of these some are in each export.
_OWN = {
    "annotation_id",
    "annotator",
    "created_at",
    "updated_at",
    "lead_time",
    "id",
    "comment",
    "completed_by",
    "sentiment_score",
}
_CHOICES = ("choice", "choices", *columns.LABELS)


def fit(listing: Listing) -> Fit | None:
    """A table or a list that says of each row who made it and how long it took."""
    files = _exports(listing)
    return Fit(MARKED, f"{files[0].name} has annotator, lead_time and others of Label Studio's") if files else None


def read(listing: Listing, options: Options) -> Source:
    """A sample for each picture with a choice; what several people said alike counts once.

    Raises Refused where they differ, or where a picture has several choices; CannotRun for what is no export of choices.
    """
    files = _exports(listing)
    if len(files) > 1:
        raise CannotRun(f"{listing.root}: several exports of Label Studio's; name the one that counts:", *map(str, files))
    (file,) = files
    names = sheet.header(file)
    if "annotations" in names:
        raise CannotRun(f"{file}: is Label Studio's JSON; export it as JSON-MIN or CSV, which have one row for each annotation")
    found = sheet.read(file, {name: place for place, name in enumerate(names) if name.lower() not in _OWN})
    values = [name for name in found if name != "line"]
    path = next((name for name in values if columns.is_picture(_path("".join(found[name].dropna().head(1))))), None)
    labels = [name for name in values if name != path]
    label = next((name for name in labels if name.lower() in _CHOICES), labels[0] if len(labels) == 1 else None)
    if path is None or label is None:
        there = ", ".join(values)
        raise CannotRun(f"{file}: expected a picture's path and one choice, beside Label Studio's own it has: {there}")
    if found[label].str.startswith("[{").any():
        way_out = "export them as COCO or YOLO and say --crop-boxes"
        raise CannotRun(f"{file}: {label} has regions of pictures, not one choice for each; {way_out}")
    rows = found.rename(columns={path: "path", label: "label"})[["path", "label", "line"]].dropna(subset=["label"])
    rows["path"] = rows["path"].map(_path, na_action="ignore").astype(sheet.TEXT)
    rows["label"] = rows["label"].map(_choice).astype(sheet.TEXT)
    return source_of({file: rows.drop_duplicates(["path", "label"])}, "Label Studio's export", listing, options)


def _exports(listing: Listing) -> list[Path]:
    found = []
    for file in listing.others(".json", *sheet.ENDINGS):
        if file.suffix.lower() == ".json" and not head(file, 100).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"["):
            continue
        names = {name.strip().lower() for name in sheet.header_of(file)}
        if len(names & {"annotation_id", "annotator", "lead_time", "updated_at"}) > 1 or {"annotations", "data", "id"} <= names:
            found.append(file)
    return found


def _path(url: str) -> str:
    """The path of a picture below the storage that its address names: a local folder, a bucket; of an upload its name."""
    if local := re.search(r"/data/local-files/?\?d=([^&]*)", url):
        inside = unquote(local[1])
    elif "/data/upload/" in url:
        inside = unquote(url).rpartition("/")[2]
    elif url.startswith(("http://", "https://")):
        inside = unquote(re.split("[?#]", url.partition("//")[2].partition("/")[2])[0])
    else:
        inside = re.sub("^[a-z0-9-]+://[^/]*", "", url)
    return inside.lstrip("/")


def _choice(text: str) -> str:
    """One choice as it is, or as a list of one; of several their list, which is refused where rows are held against files."""
    if not text.startswith(("{", "[")):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        return text
    choices = value.get("choices", value) if isinstance(value, dict) else value
    one = isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], str)
    return choices[0] if one else json.dumps(choices, ensure_ascii=False)


FORM = Form("label-studio", "Label Studio: CSV or JSON-MIN with one choice per picture", EXAMPLE, fit, read)
