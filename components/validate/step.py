"""The manifest -> a verdict: findings with what to do, a report for people, Great Expectations' Data Docs."""

from collections import Counter
from pathlib import Path
from typing import Annotated

from components.shared import destination, files
from components.shared.errors import Refused
from components.shared.screen import number
from components.validate.config import ValidateConfig


def validate(
    *,
    manifest: Annotated[Path, "what measure wrote"],
    embeddings: Annotated[Path | None, "what embed wrote"] = None,
    config: ValidateConfig,
    validation: Annotated[Path, "folder for findings.json, summary.json, report.html, data_docs/ ..."],
) -> None:
    """Judge the data. An error refuses it (exit code 1) after everything is written; a warning does not."""
    from components.validate import great

    destination.check_folder(validation, kind="validation", inputs=[manifest, *([embeddings] if embeddings else [])])
    great.process()  # before all that is slow to import
    from components.shared.data import manifest as manifests
    from components.validate import accepted, checks, class_balance, drift, features, items, report
    from components.validate.context import Context

    config.check()
    digest, seen = manifests.data_digest(manifest), features.pretrained(embeddings, manifest)
    before = accepted.find(validation, digest)
    with files.whole_folder(validation, kind="validation") as fresh:
        judged = great.judge(manifest, config, fresh / "data_docs")
        # Great Expectations is at work now, in its own process: time for what does not need its outcome.
        context = Context.read(manifest, config, before, seen)
        class_balance.chart(context, fresh / "classes.png")
        items.write_pairs(context, fresh / "pairs.parquet")
        facts, figures = class_balance.facts(context), drift.figures(context)
        findings = checks.run(context, judged)
        severities = Counter(finding.severity for finding in findings)
        summary = {
            "passed": not severities["error"],
            "data_digest": digest,
            "kind": "clip" if context.is_clip.any() else "still",
            "counts": {
                "samples": len(context.rows),
                "frames": int(context.column("frames").sum()),
                "classes": len(context.classes),
                "undecodable": int((~context.decoded).sum()),
                "errors": severities["error"],
                "warnings": severities["warning"],
            },
            "class_counts": context.label_counts.sort_index().to_dict(),
            "split_counts": context.rows["split"].value_counts().sort_index().to_dict(),
            "labels_judged": getattr(vars(context).get("opinion"), "judged", 0),  # 0 where no check asked for it
            "imbalance_ratio": facts["ratio"],
            "imbalance": facts,
            "figures": figures,
            "accepted": before and before.figures,
            "expectations": {
                "evaluated": len(judged()),
                "failed": {each.name: each.failed for each in judged() if each.failed},
            },
            "knobs": {"measure": manifests.knobs(manifest), "validate": config.model_dump()},
        }
        files.write_json(fresh / "findings.json", [items.record(finding, context) for finding in findings])
        files.write_json(fresh / "summary.json", summary)
        items.write_table(findings, context, fresh / "findings.parquet")
        report.write(findings, context, summary, fresh / "report.html")
        accepted.write(context.sample, before, fresh)
    if summary["passed"]:
        accepted.keep(validation)
    print("\n".join(report.lines(findings, context)), end="\n" if findings else "")
    if severities["error"]:
        raise Refused(f"validate: {number(severities['error'], 'error')}; {validation}/report.html shows all, and "
                      f"`darkroom fix data {validation}` lists what it can do about them")  # fmt: skip
    ratio = f"{summary['imbalance_ratio']:.1f}" if summary["imbalance_ratio"] else "infinite"
    print(f"validate: {number(len(context.rows), 'sample')} in {number(len(context.classes), 'class', 'classes')} pass with "
          f"{number(severities['warning'], 'warning')} "
          f"(largest class / smallest: {ratio}); {validation}/report.html shows it all")  # fmt: skip
