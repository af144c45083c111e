"""One page that needs no network: the verdict first, then each finding with its pictures, then the classes."""

import base64
from pathlib import Path

import jinja2
import pandas as pd

from components.shared import files
from components.shared.data import manifest as manifests
from components.validate.class_chart import per_split
from components.validate.context import Context
from components.validate.items import Finding, escaped

SHOWN = 12  # samples of a finding that are shown with their pictures
LISTED = 100  # and that are listed
_CLASSES = 200  # that the tables show


def write(findings: list[Finding], context: Context, summary: dict, file: Path) -> None:
    """Fill in `report.html` beside this module. Whatever names come in are escaped by the template engine."""
    wanted = {row for finding in findings for row in finding.rows.index[:SHOWN]}
    wanted |= {int(row) for finding in findings for row in finding.rows["other"][:SHOWN] if row >= 0}
    previews = manifests.read_previews(context.manifest, wanted)
    counts = per_split(context)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["plain"] = lambda value: escaped(str(value))
    page = environment.get_template("report.html").render(
        summary=summary,
        findings=[_shown(finding, context, previews) for finding in findings],
        splits=list(counts.columns),
        classes=[
            {"name": str(name), "counts": row.tolist(), "sum": int(row.sum())} for name, row in counts.head(_CLASSES).iterrows()
        ],
        hidden_classes=max(0, len(counts) - _CLASSES),
        largest=int(counts.sum(axis=1).max()) if len(counts) else 0,
        imbalance=summary["imbalance"],
    )
    with files.whole_file(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _shown(finding: Finding, context: Context, previews: dict[int, bytes]) -> dict:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "doc": finding.doc,
        "fix": finding.fix,
        "action": finding.action,
        "pictures": _pictures(finding, context, previews),
        "items": [item["text"] for item in finding.items(context, most=LISTED)],
        "count": len(finding.rows),
    }


def _pictures(finding: Finding, context: Context, previews: dict[int, bytes]) -> list[dict]:
    """Each sample, with the one it clashes with beside it; a pair that clashes both ways is shown once."""
    shown, pairs = [], set()
    for row, fact in finding.rows.head(SHOWN).iterrows():
        twin = None if fact["other"] < 0 else int(fact["other"])
        if (twin, row) in pairs:
            continue
        pairs.add((row, twin))
        rows = [row] if twin is None else [row, twin]
        samples = [
            {
                "name": name,
                "label": None if pd.isna(context.labels.iat[each]) else context.labels.iat[each],
                "picture": base64.b64encode(previews.get(each, b"")).decode(),
                "type": "image/png" if previews.get(each, b"").startswith(b"\x89PNG") else "image/jpeg",
            }
            for each, name in zip(rows, context.names(rows), strict=True)
        ]
        shown.append({"reason": fact["reason"] if twin is None else "", "samples": samples})
    return shown
