"""The evaluated models -> a verdict: which pass the gates, which is the better one, whether it becomes champion."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from components.register import criteria, report_page, summary
from components.register.candidates import ABSOLUTE, Candidate, read_all
from components.register.card import card
from components.register.comparison import number
from components.register.config import RegisterConfig
from components.shared import destination, files
from components.shared.errors import CannotRun, Refused
from components.shared.runs import signing, tracking, values
from components.shared.runs.logged_model import DIGEST
from components.shared.runs.registry import FACTS, IDENTITY, facts_of


def register(
    *,
    models: Annotated[list[Path], "folders that train wrote"],
    packages: Annotated[list[Path], "folders that package wrote, in the same order"],
    evaluations: Annotated[list[Path], "folders that evaluate wrote, in the same order"],
    prepared: Annotated[Path, "what prepare wrote: the test split, to ask the champion anew"],
    config: RegisterConfig,
    registration: Annotated[Path, "the file for the verdict"],
    stress: Annotated[Path | None, "what stress wrote, of all models"] = None,
    validation: Annotated[Path | None, "what validate wrote, for the page"] = None,
    report: Annotated[Path | None, "folder for the page that shows the verdict, the models and the data"] = None,
) -> None:
    """Each model that passes the absolute gates becomes a version; the best of them champion, if it proves to be better.

    Validation data decides which architecture is better. A candidate replaces the champion if it is better beyond chance on test
    samples that neither has learnt from, and does no harm. The same model again adds no version. Raises Refused when none passes,
    after the verdict is written.
    """
    inputs = [*models, *packages, *evaluations, prepared, *filter(None, [stress, validation])]
    destination.check_file(registration, ours=_is_verdict, inputs=inputs)
    if report:
        destination.check_folder(report, kind="report", inputs=inputs)
    candidates = read_all(models, packages, evaluations, prepared, stress)
    for candidate in candidates:
        candidate.reasons = candidate.faults(config) or _unusable(candidate)
    passing = [candidate for candidate in candidates if not candidate.reasons]
    for candidate in candidates:
        # A refused model is worth comparing too, but only a version needs the server to be up.
        for send, made in ((tracking.send_package, candidate.package.folder), (tracking.send_evaluation, candidate.evaluation)):
            if candidate in passing and config.enabled:
                send(candidate.model, made)
            else:
                tracking.try_to(send, candidate.model, made)
    verdict = {"model": config.model, "version": None, "alias": "champion", "accepted": False}
    verdict |= {"champion": None, "decisions": 0, "decide_on": config.decide_on}
    verdict["data_digest"] = candidates[0].record["data_digest"]
    verdict["criteria"] = [asdict(row) for candidate in candidates for row in candidate.criteria(config)]
    if passing and not config.enabled:
        verdict["reasons"] = [_why_best(_best(passing, config), passing, config), "A trial: register.enabled is false, so that "
                              "nothing was registered."]  # fmt: skip
    elif passing:
        found, rows = _register(passing, prepared, config)
        verdict |= found
        verdict["criteria"] += map(asdict, rows)
    else:
        verdict["reasons"] = ["no model passes the gates"]
    verdict["reasons"] += candidates[0].caveat()  # they have the test split in common
    verdict["candidates"] = [_row(candidate, config) for candidate in candidates]
    files.write_json(registration, verdict, ours=_is_verdict)
    if report:
        report_page.write(registration, models, evaluations, stress, validation, report)
    judged = [tracking.Judged(candidate.record, candidate.card, candidate.stress) for candidate in candidates]
    shown = {"report": [report / "index.html"] if report else []}
    shown["data"] = [validation / "report.html", validation / "classes.png"] if validation else []
    tracking.try_to(tracking.send_verdict, judged, verdict, config.model_dump(), shown)
    if passing:
        print(summary.closing(verdict, registration))
    else:
        raise Refused(*(reason for candidate in candidates for reason in candidate.reasons))


def _is_verdict(file: Path) -> bool:
    return {"model", "version", "alias", "accepted", "reasons"} <= files.read_json(file).keys()


def _unusable(candidate: Candidate) -> list[str]:
    """Why the model itself is not fit for the registry: weights that are no numbers load in silence."""
    try:
        candidate.examine()
    except Refused as refused:
        return [f"{candidate.architecture}: {fault}" for fault in refused.faults]
    return []


def _register(passing: list[Candidate], prepared: Path, config: RegisterConfig) -> tuple[dict, list[criteria.Row]]:
    from components.register.promotion import settle
    from components.shared.runs.registry import Registry

    best = _best(passing, config)
    why_best = _why_best(best, passing, config)
    mlflow = tracking.connect()
    registry = Registry(mlflow, config.model)
    verified, faults = [], []
    for candidate in passing:  # all are read back before one is registered, so that the next call sends all that are damaged
        try:
            verified.append(tracking.verified_model(mlflow, candidate.model, candidate.package))
        except CannotRun as error:
            faults += error.faults
    if faults:
        raise CannotRun(*faults)
    for candidate, (model_id, sha256) in zip(passing, verified, strict=True):
        if config.signing_key:
            signing.send(mlflow, model_id, candidate.package, Path(config.signing_key))
        candidate.card = card(candidate, [f"Passed the gates. {why_best}"])
        candidate.version = registry.add(_tags(candidate, sha256), candidate.card, model_id)
        candidate.reasons = [f"{candidate.architecture}: passes the gates"]
    settled = settle(mlflow, registry, best, best.version, prepared, config)
    reasons = [why_best, settled.verdict.reason, *filter(None, [settled.wear])]
    best.card = card(best, reasons + best.caveat())
    registry.describe(best.version, best.card)
    found = {"version": best.version, "accepted": settled.verdict.accepted, "reasons": reasons}
    return found | {"champion": _told(settled.champion), "decisions": settled.decisions}, settled.verdict.rows


def _best(passing: list[Candidate], config: RegisterConfig) -> Candidate:
    return max(passing, key=lambda candidate: candidate.on_validation(config.compare_by))


def _told(champion) -> dict | None:
    if not champion:
        return None
    tags = facts_of(champion)
    metrics = {name.removeprefix("test_"): value for name, text in tags.items()
               if (name.startswith("test_") or name == "mean_corruption_error") and (value := number(text)) is not None}  # fmt: skip
    return {"version": str(champion.version), "name": tags.get("name", tags.get("architecture", "")), "metrics": metrics}


def _tags(candidate: Candidate, sha256: str) -> dict[str, str]:
    """What people look for as tags; what the next comparison needs in one of them."""
    facts = {
        "name": candidate.record["name"],
        "weights_sha256": candidate.record["model"]["weights_sha256"],
        "sha256": sha256,
        "test_digest": candidate.test_digest,
        "shape": str(candidate.record["shape"]),
        "classes": candidate.classes_digest,
        **{f"test_{name}": value for name, value in candidate.metrics.items()},
    }
    if candidate.stress:
        facts |= {"mean_corruption_error": candidate.stress["mean_corruption_error"]}
        facts |= {"stress_samples": str(candidate.stress["samples"])}
    return {
        IDENTITY: candidate.identity,
        "architecture": candidate.architecture,
        "data_digest": candidate.record["data_digest"],
        "git_commit": candidate.record["tags"]["git_commit"],
        DIGEST: candidate.package.digest,
        FACTS: json.dumps(facts),
    }


def _why_best(best: Candidate, passing: list[Candidate], config: RegisterConfig) -> str:
    others = [f"{other.architecture} {other.on_validation(config.compare_by):.4f}" for other in passing if other is not best]
    name = config.compare_by.replace("_", " ")
    value = f"{best.architecture} has {name} {best.on_validation(config.compare_by):.4f} on validation data"
    return f"{value}, against {', '.join(others)}." if others else f"{value}; no other model passes the gates."


def _row(candidate: Candidate, config: RegisterConfig) -> dict:
    metrics = dict.fromkeys((*ABSOLUTE, *candidate.metrics)) | values.finite(candidate.metrics)
    return {
        "architecture": candidate.architecture,
        "name": candidate.record["name"],
        "training_id": candidate.record["training_id"],
        "version": candidate.version,
        "reasons": candidate.reasons,
        "validation": values.finite({config.compare_by: candidate.record["validation"].get(config.compare_by)}),
        "metrics": metrics,
        "cost": candidate.cost,
        "twins": candidate.twins,
    }
