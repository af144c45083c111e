"""The manifest -> a verdict: findings with what to do, a report to look at, Great Expectations' Data Docs."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from components.shared import destination, files
from components.shared.errors import Refused
from components.validate.config import ValidateConfig

SCREEN = 16  # lines of findings that the terminal shows
WIDTH = 110  # characters of one
_WRITTEN = {"findings.json", "findings.parquet", "summary.json", "report.html", "classes.png", "data_docs", "pairs.parquet"}


def validate(
    *,
    manifest: Annotated[Path, "what measure wrote"],
    config: ValidateConfig,
    validation: Annotated[Path, "folder for findings.json, summary.json, report.html, data_docs/ ..."],
) -> None:
    """Judge the data. An error refuses it (exit code 1) after everything is written; a warning does not."""
    from components.validate import expectations

    destination.check_folder(validation, kind="validation", ours=_is_older, inputs=[manifest])
    expectations.start()  # before all that is slow to import
    from components.shared.data import manifest as manifests
    from components.validate import class_balance, drift, pairs, report, suite
    from components.validate.class_chart import classes_per_split
    from components.validate.context import Context

    digest = manifests.data_digest(manifest)
    context = Context(manifests.read(manifest), config, manifest, _accepted(validation, digest))
    with files.whole_folder(validation, kind="validation", ours=_is_older) as fresh:
        checked = suite.check(context, docs=fresh / "data_docs")
        # Great Expectations is at work now: time for what does not need its answer.
        classes_per_split(context, fresh / "classes.png")
        facts, figures = class_balance.facts(context), drift.figures(context)
        findings = suite.findings(context, checked)
        severities = Counter(finding.severity for finding in findings)
        summary = {
            "passed": not severities["error"],
            "data_digest": digest,
            "kind": "clip" if context.is_clip.any() else "still",
            "counts": {
                "samples": len(context.rows),
                "frames": int(context.rows["frames"].sum()),
                "classes": len(context.classes),
                "undecodable": int((~context.decoded).sum()),
                "errors": severities["error"],
                "warnings": severities["warning"],
            },
            "class_counts": {label: int(n) for label, n in context.labels.value_counts().sort_index().items()},
            "split_counts": {split: int(n) for split, n in context.rows["split"].value_counts().sort_index().items()},
            "imbalance_ratio": facts["ratio"],
            "imbalance": facts,
            "figures": figures,
            "accepted": context.accepted,
            "knobs": {"measure": manifests.knobs(manifest), "validate": config.model_dump()},
        }
        files.write_json(fresh / "findings.json", [_as_json(finding, context) for finding in findings])
        files.write_json(fresh / "summary.json", summary)
        suite.write_table(findings, context, fresh / "findings.parquet")
        pairs.write(context, fresh / "pairs.parquet")
        report.write(findings, context, summary, fresh / "report.html")
        expectations.finish()
    lines = [line for finding in findings for line in _told(finding, context)]
    print("\n".join(lines[:SCREEN]))
    if len(lines) > SCREEN:
        print(f"and {len(lines) - SCREEN} lines more in {validation}/findings.json")
    if severities["error"]:
        raise Refused(f"validate: {severities['error']} errors; look at {validation}/report.html. What `darkroom fix` can do about "
                      f"them: darkroom fix data {validation}")  # fmt: skip
    ratio = f"{summary['imbalance_ratio']:.1f}" if summary["imbalance_ratio"] else "infinite"
    print(f"validate: {len(context.rows):,} samples in {len(context.classes)} classes pass with {severities['warning']} warnings "
          f"(largest class / smallest: {ratio}); {validation}/report.html shows it all")  # fmt: skip


def _is_older(file: Path) -> bool:
    """Whether a file lies in what an older version wrote, which had no marker."""
    return file.name in _WRITTEN and "data_digest" in files.read_json(file.with_name("summary.json"))


def _accepted(validation: Path, digest: str) -> dict | None:
    """The figures of the data that passed before this, if any: what drift is told against.

    The same data judged twice is held against the same data as the first time, so that it gives the same findings.
    """
    files.restore(validation)
    if not (validation / "summary.json").exists():
        return None
    before = files.read_json(validation / "summary.json")
    fresh_start = "figures" not in before  # written by an older version
    return (
        None
        if fresh_start
        else before["figures"]
        if before["passed"] and before["data_digest"] != digest
        else before["accepted"]
    )


def _as_json(finding, context) -> dict:
    return {
        "code": finding.code,
        "severity": finding.severity,
        "message": finding.message,
        "items": finding.items(context),
        "fix": finding.fix,
    }


def _told(finding, context) -> list[str]:
    """An error has three lines, a warning two, an info one."""
    lines = [f"{finding.code} {finding.severity}: {finding.message}"]
    items = finding.items(context)
    if items and finding.severity != "info":
        lines.append(f"    {items[0]}" + (", ..." if len(items) > 1 else ""))
    if finding.severity == "error":
        lines.append(f"    -> {finding.fix}")
    return [line if len(line) <= WIDTH else line[: WIDTH - 3] + "..." for line in lines]
