"""The evaluated models -> a verdict: which pass the gates, which is the better one, whether it becomes champion."""

from pathlib import Path
from typing import Annotated

from components.register.candidates import Candidate, read
from components.register.card import card
from components.register.config import RegisterConfig
from components.shared import destination, files
from components.shared.data import arrays
from components.shared.errors import CannotRun, Refused
from components.shared.runs import tracking


def register(
    *,
    models: Annotated[list[Path], "folders that train wrote"],
    evaluations: Annotated[list[Path], "folders that evaluate wrote, in the same order"],
    prepared: Annotated[Path, "what prepare wrote: the test split, to score an older champion on"],
    config: RegisterConfig,
    registration: Annotated[Path, "the file for the verdict"],
) -> None:
    """Each model that passes the absolute gates becomes a version; the best of them champion, unless the present one is better.

    Which architecture is better is told by validation data. The champion is left by a model that is no worse on the same test
    split. The same model again adds no version. Raises Refused when none passes, after the verdict is written.
    """
    destination.check_file(registration, ours=_is_verdict, inputs=[*models, *evaluations, prepared])
    if len(models) != len(evaluations):
        raise CannotRun(f"register: {len(models)} models but {len(evaluations)} evaluations")
    candidates = [read(model, evaluation) for model, evaluation in zip(models, evaluations, strict=True)]
    if len({candidate.test_digest for candidate in candidates}) > 1:
        raise CannotRun("register: the models were scored on different test splits; `dvc repro` brings them together")
    passing = []
    for candidate in candidates:
        candidate.reasons = candidate.below(config)
        passing += [] if candidate.reasons else [candidate]
    for candidate in candidates:
        # A refused model is worth comparing too, but only a version needs the server to be up.
        if passing:
            tracking.send_evaluation(candidate.model, candidate.evaluation)
        else:
            tracking.try_to(tracking.send_evaluation, candidate.model, candidate.evaluation)
    verdict = {"model": config.model, "version": None, "alias": "champion", "accepted": False}
    if passing:
        verdict |= _register(passing, prepared, config)
    else:
        verdict["reasons"] = ["no model passes the gates"]
    files.write_json(
        registration, verdict | {"candidates": [_row(candidate, config) for candidate in candidates]}, ours=_is_verdict
    )
    print("\n".join(f"register: {reason}" for reason in verdict["reasons"]))
    if not passing:
        raise Refused(*(reason for candidate in candidates for reason in candidate.reasons))


def _is_verdict(file: Path) -> bool:
    return {"model", "version", "alias", "accepted", "reasons"} <= files.read_json(file).keys()


def _register(passing: list[Candidate], prepared: Path, config: RegisterConfig) -> dict:
    from components.register.registry import Registry

    best = max(passing, key=lambda candidate: candidate.on_validation(config.compare_by))
    reasons = [_why_best(best, passing, config)]
    mlflow = tracking.connect()
    with tracking.said(mlflow):
        registry = Registry(mlflow, config.model)
        champion = registry.champion()
        accepted, why = _against(champion, best, registry, prepared, config)
        reasons.append(why)
        for candidate in passing:
            model_id, sha256 = tracking.logged_model(mlflow, candidate.record["training_id"])
            told = reasons if candidate is best else [f"Passed the gates. {reasons[0]}"]
            candidate.version = registry.add(candidate, model_id, sha256, card(candidate, told))
            candidate.reasons = [f"{candidate.architecture}: passes the gates"]
        if accepted:
            registry.promote(best.version)
    return {"version": best.version, "accepted": accepted, "reasons": reasons}


def _why_best(best: Candidate, passing: list[Candidate], config: RegisterConfig) -> str:
    others = [f"{other.architecture} {other.on_validation(config.compare_by):.4f}" for other in passing if other is not best]
    name = config.compare_by.replace("_", " ")
    value = f"{best.architecture} has {name} {best.on_validation(config.compare_by):.4f} on validation data"
    return f"{value}, against {', '.join(others)}." if others else f"{value}; no other model passes the gates."


def _against(champion, best: Candidate, registry, prepared: Path, config: RegisterConfig) -> tuple[bool, str]:
    if champion is None:
        return True, "There was no champion before."
    if champion.tags.get("identity") == best.identity:
        return True, f"It is the champion already (version {champion.version})."
    before = registry.score(champion, best, lambda: arrays.load(prepared / "test"), config.compare_by)
    if before is None:
        return True, f"The champion so far (version {champion.version}) recognises other classes; it is replaced."
    now, name = best.metrics[config.compare_by], config.compare_by.replace("_", " ")
    comparison = f"{name} {now:.4f} on the test split, the champion so far (version {champion.version}) {before:.4f}."
    if now < before - config.tolerance:
        return False, f"The champion stays: {comparison}"
    return True, f"No worse than the champion: {comparison}"


def _row(candidate: Candidate, config: RegisterConfig) -> dict:
    return {
        "architecture": candidate.architecture,
        "name": candidate.record["name"],
        "version": candidate.version,
        "reasons": candidate.reasons,
        "validation": {config.compare_by: candidate.on_validation(config.compare_by)},
        "metrics": candidate.metrics,
        "cost": candidate.cost,
    }
