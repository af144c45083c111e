"""What people read: report.html (the verdict, each finding with its pictures, the classes), and lines for the terminal."""

from pathlib import Path

import numpy as np
import pandas as pd

from components.shared import files, screen
from components.shared.page import render
from components.validate.class_balance import per_split
from components.validate.context import Context
from components.validate.finding import Finding
from components.validate.items import first

SHOWN = 12  # samples of a finding that are shown with their pictures
LISTED = 100  # and that are listed
_CLASSES = 200  # that the tables show
_SCREEN = 18  # lines of findings that the terminal shows


def write(findings: list[Finding], context: Context, summary: dict, file: Path) -> None:
    """Fill in `report.html` beside this module: names are escaped, and only so many samples and classes are listed."""
    wanted = np.unique(np.concatenate([_rows(finding) for finding in findings] or [[]]).astype(int))
    previews = context.some(wanted, "preview")["preview"].dropna().to_dict()
    counts = per_split(context)
    groups = sorted(summary["imbalance"]["groups_per_class"].items(), key=lambda item: item[1])
    page = render.render(
        Path(__file__).with_name("report.html"),
        summary=summary,
        findings=[_shown(finding, context, previews) for finding in findings],
        splits=list(counts.columns),
        classes=[
            {"name": str(name), "counts": row.tolist(), "sum": int(row.sum())} for name, row in counts.head(_CLASSES).iterrows()
        ],
        hidden_classes=max(0, len(counts) - _CLASSES),
        largest=int(counts.sum(axis=1).max()) if len(counts) else 0,
        imbalance=summary["imbalance"],
        groups=groups[:_CLASSES],
    )
    with files.whole_file(file) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="backslashreplace")


def _rows(finding: Finding) -> np.ndarray:
    """The samples that are shown, and those that they clash with, ascending."""
    rows = finding.rows.head(SHOWN)
    return np.unique([*rows.index, *rows["other"][rows["other"] >= 0]]).astype(int)


def _shown(finding: Finding, context: Context, previews: dict[int, bytes]) -> dict:
    items = first(finding, context, LISTED)["text"].tolist()
    return {**vars(finding), "pictures": _pictures(finding, context, previews), "items": items, "count": len(finding.rows)}


def _pictures(finding: Finding, context: Context, previews: dict[int, bytes]) -> list[dict]:
    """Each sample, with the one it clashes with beside it; a pair that clashes both ways is shown once."""
    shown, pairs = [], set()
    names = dict(zip(_rows(finding), context.names(_rows(finding)), strict=True))
    for row, fact in finding.rows.head(SHOWN).iterrows():
        twin = None if fact["other"] < 0 else int(fact["other"])
        if (twin, row) in pairs:
            continue
        pairs.add((row, twin))
        samples = [
            {
                "name": names[each],
                "label": None if pd.isna(context.labels.iat[each]) else context.labels.iat[each],
                "picture": render.picture(previews.get(each, b"")),
            }
            for each in ([row] if twin is None else [row, twin])
        ]
        shown.append({"reason": fact["reason"] if twin is None else "", "samples": samples})
    return shown


def lines(findings: list[Finding], context: Context) -> list[str]:
    """What the terminal shows of the first findings, each whole; of those that a screen does not hold their codes."""
    lines: list[str] = []
    for number, finding in enumerate(findings):
        own = _lines(finding, context)
        if number and len(lines) + len(own) > _SCREEN:
            codes = ", ".join(left.code for left in findings[number:])
            return lines + screen.wrapped(f"and {screen.number(len(findings) - number, 'finding')} more: {codes}").splitlines()
        lines += own
    return lines


def _lines(finding: Finding, context: Context) -> list[str]:
    """What is wrong and, but for an info, the first item; for an error the next step, too."""
    texts = [screen.wrapped(f"{finding.code} {finding.severity}: {finding.message}")]
    if len(finding.rows) and finding.severity != "info":
        item = first(finding, context, 1)["text"].iat[0]
        texts.append(screen.wrapped(item + (", ..." if len(finding.rows) > 1 else ""), "    ", indent=6))
    if finding.severity == "error":
        texts.append(screen.wrapped(f"-> {finding.fix}", "    ", indent=7))
    return "\n".join(texts).splitlines()
