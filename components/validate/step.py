"""The manifest -> a verdict: findings with what to do, Great Expectations' Data Docs, a picture of the classes."""

from pathlib import Path
from typing import Annotated

from components.shared import files
from components.shared import manifest as manifests
from components.shared.errors import Refused
from components.validate.config import ValidateConfig

SHOWN = 5  # items of a finding that the terminal shows


def validate(
    *,
    manifest: Annotated[Path, "what measure wrote"],
    config: ValidateConfig,
    validation: Annotated[Path, "folder for findings.json, summary.json, classes.png and data_docs/"],
) -> None:
    """Judge the data. An error refuses it (exit code 1) after everything is written; a warning does not."""
    from components.validate import checks, suite
    from components.validate.imbalance import imbalance_ratio
    from components.validate.picture import classes_per_split

    rows = checks.enriched(manifests.read(manifest))
    with files.whole_folder(validation) as fresh:
        findings = suite.findings(rows, config, docs=fresh / "data_docs")
        errors = [finding for finding in findings if finding["severity"] == "error"]
        ratio = imbalance_ratio(rows["training_label"])
        summary = {
            "passed": not errors,
            "data_digest": manifests.data_digest(manifest),
            "kind": "clip" if rows["frames"].max() > 1 else "still",
            "counts": {
                "samples": len(rows),
                "frames": int(rows["frames"].sum()),
                "classes": int(rows["label"].nunique()),
                "undecodable": int(rows["fault_code"].notna().sum()),
                **{name: sum(f["severity"] == name[:-1] for f in findings) for name in ("errors", "warnings")},
            },
            "class_counts": {str(label): int(n) for label, n in rows["label"].value_counts().sort_index().items()},
            "split_counts": {str(split): int(n) for split, n in rows["split"].value_counts().sort_index().items()},
            "imbalance_ratio": round(ratio, 4) if ratio != float("inf") else None,
        }
        files.write_json(fresh / "findings.json", findings)
        files.write_json(fresh / "summary.json", summary)
        classes_per_split(rows, fresh / "classes.png")
    for finding in findings:
        print(_told(finding))
    if errors:
        raise Refused(f"validate: {len(errors)} errors; see {validation}/findings.json, or data_docs/index.html beside it")
    print(f"validate: {len(rows):,} samples in {summary['counts']['classes']} classes pass "
          f"(largest class / smallest: {ratio:.1f})")  # fmt: skip


def _told(finding: dict) -> str:
    lines = [f"{finding['code']} {finding['severity']}: {finding['message']}"]
    lines += [f"    {item}" for item in finding["items"][:SHOWN]]
    more = len(finding["items"]) - SHOWN
    if more > 0:
        lines.append(f"    and {more:,} more in findings.json")
    lines.append(f"    -> {finding['fix']}")
    return "\n".join(lines)
