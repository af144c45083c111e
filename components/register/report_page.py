"""One page for people, `index.html`: the verdict and why, the models side by side, where they fail, how they were made.

It is made of the files that the steps left, and of nothing else; what is missing is named on the page, and is no fault.
"""

import io
import os
import platform
from pathlib import Path
from typing import NamedTuple

from components.register import report_tables as tables
from components.register.report_tables import Side
from components.shared import files
from components.shared.page import render

WIDTH = 1400  # pixels that a picture has at most on the page
MADE_BY = "`dvc repro` makes it"
PICTURES = {  # what each shows, for those who do not see it
    "confusion": "which class (row) was taken for which (column)",
    "reliability": "how often an answer is right, by its confidence",
    "mistakes": "the mistakes that it was surest of",
    "features": "what its first and last layers react to",
    "time": "which moments its answers rest on",
}


class Part(NamedTuple):
    """A heading with a table and pictures; `missing` stands there where it has neither, and `link`, if any, in the navigation."""

    title: str
    note: str = ""
    rows: list[dict] | None = None
    missing: str = MADE_BY
    plots: list[dict] = []  # noqa: RUF012 - never changed
    link: str = ""
    folded: bool = False


def write(
    registration: Path, models: list[Path], evaluations: list[Path], stress: Path | None, validation: Path | None, folder: Path
) -> None:
    """Write `index.html` into `folder`: whole in itself, pictures in it, without a script but its own; every name is text.

    `registration` is the file that `register` wrote; `models` and `evaluations` are in the same order; None is
    for what there is none of. Raises CannotRun.
    """
    verdict = files.read_json(registration, "accepted", "candidates", "model", "reasons", "version")
    findings = tables.read(validation / "findings.json") if validation else None
    sides = tables.sides(models, evaluations, stress)
    versions = {candidate["version"]: candidate for candidate in verdict["candidates"] if candidate["version"]}
    chosen = versions.get(verdict["version"])
    failed = [
        tables.called(row["criterion"]) if chosen else f"{row['candidate']} fails at {tables.called(row['criterion'])}"
        for row in verdict.get("criteria", [])
        if row["verdict"] == "fails" and (not chosen or row["candidate"] == chosen["architecture"])
    ]
    page = render.render(
        Path(__file__).with_suffix(".html"), verdict=verdict, decisions=verdict.get("decisions", 0), chosen=chosen, failed=failed,
        refused=[reason for candidate in verdict["candidates"] if not candidate["version"] for reason in candidate["reasons"]],
        parts=_parts(verdict, findings, sides),
    )  # fmt: skip
    with files.whole_folder(folder, kind="report") as fresh:
        (fresh / "index.html").write_text(page, encoding="utf-8", errors="backslashreplace")


def _parts(verdict: dict, findings: list[dict] | None, sides: list[Side]) -> list[Part]:
    champion = verdict.get("champion") or {}
    was = "The champion's were measured when it was registered." if champion else "There was no champion before."
    champion = {} if champion.get("version") == verdict["version"] else champion  # it stands there as a model
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    return [
        Part("Criteria", "Small figures are intervals of 95%.", tables.criteria(verdict.get("criteria")),
             "the verdict is of an older Darkroom; `dvc repro -f register` judges anew", link="Criteria"),
        Part("The models side by side", f"On the test split; small figures are intervals of 95%. {was}",
             tables.figures(sides, champion), link="Models"),
        Part("The worst slices", "Those that lose most against the rest come first; p is corrected for looking at many (Holm).",
             tables.slices(sides), f"no slices.csv; {MADE_BY}", link="Slices"),
        Part("The most confused pairs", "", tables.pairs(sides), f"no pairs.csv; {MADE_BY}",
             _plots(sides, "pairs.png", "samples of the classes that it confuses most"), link="Pairs"),
        Part("Damaged pictures", "Accuracy at strengths 1 to 5 of each damage; what hurts most comes first.",
             tables.damages(sides), "no stress.json; `dvc repro stress` makes it", link="Damage",
             plots=[*_plots(sides, "curves.png", "accuracy by strength"), *_plots(sides[:1], "damages.png", "each damage")]),
        Part("Pictures", "A click enlarges a picture.", [], link="Pictures"),
        *(Part(name.capitalize(), "", None, f"no {name}.png; {MADE_BY}", found)
          for name, what in PICTURES.items() if (found := _plots(sides, f"{name}.png", what)) or name != "time"),
        Part("Explanations", "Each method has to pass its checks: it must find what matters better than chance does, and must "
             "change when the weights are shuffled. The sham has to fail. Deletion: mean probability of the class while what was "
             "marked is taken away, the most relevant first; lower is better, and so than in random order. Similarity: of the map "
             "with that of the shuffled weights; 1 is the same.", tables.explanations(sides),
             f"no explanations.json; {MADE_BY}", _plots(sides, "explanations.png", "what its answers rest on")),
        Part("What validate found, and how often the models are wrong there", "Of each finding, the first 1,000 samples.",
             tables.findings(findings, sides), f"no findings.json; {MADE_BY}", link="Data"),
        Part("Doubtful labels that a model contradicts", "Test samples whose label validate doubts, and to which a model gave "
             "another: the label may be what is wrong. Those that it is surest of come first.", tables.suspects(findings, sides),
             f"it needs samples.parquet of evaluate and findings.json of validate; {MADE_BY}"),
        Part("Classes", "The worst come first: few samples in training are a reason to bring more.", tables.classes(sides),
             f"no classes.csv; {MADE_BY}"),
        Part("Slices that lack data", f"Their intervals are wider than {100 * tables.VAGUE:.0f} points: how good a model is there "
             "is not known.", tables.slices(sides, vague=True), f"no slices.csv; {MADE_BY}"),
        Part("How it was made", f"Judged on {machine}.", tables.made(sides), f"no run.json; {MADE_BY}", link="Made"),
        Part("Knobs", "Those in which the models differ come first.", tables.knobs(sides), f"no run.json; {MADE_BY}", folded=True),
    ]  # fmt: skip


def _plots(sides: list[Side], name: str, what: str) -> list[dict]:
    """The picture of this name of each model that has one, small enough for a page."""
    found = [(side.name, _small(folder / name)) for side in sides for folder in (side.evaluation, side.stress) if folder]
    return [{"about": f"{model}: {what}", "address": address} for model, address in found if address]


def _small(file: Path) -> str:
    """A picture as an address that needs no file; empty where there is none, or it cannot be read."""
    from PIL import Image

    content = io.BytesIO()
    try:
        with Image.open(file) as picture:
            small = picture.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return ""
    small.thumbnail((WIDTH, 4 * WIDTH))
    small.save(content, "WEBP", quality=80)
    return render.picture(content.getvalue())
