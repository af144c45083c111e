"""A candidate against the champion: on samples that neither has learnt from or was tuned on."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.register.candidates import Candidate
from components.register.config import RegisterConfig
from components.shared.data import arrays, seen
from components.shared.models import keras_file
from components.shared.runs import logged_model
from components.shared.runs.registry import IDENTITY, Registry

FEW = 20  # samples; fewer say little of a model
TAGS = (IDENTITY, "weights_sha256", "classes", "shape", "test_digest")  # which each version of ours has


class Verdict(NamedTuple):
    """Whether the candidate becomes champion, and why, in a sentence."""

    accepted: bool
    reason: str


def compare(
    champion, candidate: Candidate, version: str, registry: Registry, prepared: Path, config: RegisterConfig
) -> Verdict:
    """Judge a candidate, which is `version` of the registered model, against the present champion (None: there is none).

    The candidate becomes champion if it is no worse by more than `register.tolerance`. A champion that it cannot be compared
    with stays, unless `register.replace_incomparable_champion` says otherwise.
    """
    if champion is None:
        return Verdict(True, "There was no champion before.")
    if str(champion.version) == version:
        return Verdict(True, f"It is the champion already (version {version}).")
    try:
        before, now, where = _figures(champion, candidate, registry, prepared, config.compare_by)
    except Incomparable as reason:
        return _without_comparison(champion, str(reason), config)
    except logged_model.Unusable as error:
        if champion.tags.get(IDENTITY) == candidate.identity:
            return Verdict(
                True, f"The champion so far (version {champion.version}) is the same model, but {error}; it is replaced."
            )
        return _without_comparison(champion, f"is not readable: {error}", config)
    name = config.compare_by.replace("_", " ")
    figures = f"{name} {now:.4f} {where}, the champion so far (version {champion.version}) {before:.4f}"
    if now >= before - config.tolerance:
        return Verdict(True, f"No worse than the champion: {figures}.")
    return Verdict(False, f"The champion stays: {figures}.")


class Incomparable(Exception):
    """The text says why, with the champion as its subject."""


def _without_comparison(champion, reason: str, config: RegisterConfig) -> Verdict:
    what = f"the champion so far (version {champion.version}) {reason.rstrip('.')}"
    if config.replace_incomparable_champion:
        return Verdict(True, f"Not compared: {what}; register.replace_incomparable_champion replaces it.")
    return Verdict(False, f"The champion stays: {what}. To replace it all the same, set register.replace_incomparable_champion: "
                          "true in params.yaml and run `dvc repro`, or give the alias to another version in MLflow.")  # fmt: skip


def _figures(champion, candidate: Candidate, registry: Registry, prepared: Path, metric: str) -> tuple[float, float, str]:
    """The metric of the champion, that of the candidate, and on which samples.

    On the same test split the recorded values stand. Else both are scored on those of the candidate's test samples that the
    champion has not learnt from. Raises Incomparable, and Unusable when the champion's files cannot be read.
    """
    tags = champion.tags
    missing = [tag for tag in (*TAGS, f"test_{metric}") if tag not in tags]
    if missing:
        raise Incomparable(f"was not registered by Darkroom, or has lost its tags (no {', '.join(missing)})")
    if tags["classes"] != candidate.classes_digest:
        raise Incomparable("recognises other classes")
    model, now = registry.read(champion), candidate.metrics[metric]
    if tags["test_digest"] == candidate.test_digest:
        recorded = _number(tags[f"test_{metric}"])
        if recorded is None:
            raise Incomparable(f"has no usable record: its tag test_{metric} is {tags[f'test_{metric}']!r}")
        return recorded, now, f"on the same {candidate.metrics['samples']:,} test samples"
    shape = list(candidate.record["shape"])
    if list(model.input_shape[1:]) != shape:
        raise Incomparable(f"was scored on another test split, and takes another shape ({tags['shape']}, not {shape})")
    test = arrays.load(prepared / "test")
    learnt = registry.seen(champion)
    if learnt is None:
        raise Incomparable(
            "was scored on another test split, and its list of the samples that it has learnt from is lost or damaged"
        )
    rows = np.flatnonzero(seen.unseen(test.table(), learnt))
    if not len(rows):
        raise Incomparable(f"has learnt from all of the {len(test):,} test samples")
    before = _score(model, test, rows, metric)
    if before is None:
        raise Incomparable("answers with values that are no numbers")
    if len(rows) < len(test):
        now = _score(candidate.load(), test, rows, metric)
    few = " (few, which says little)" if len(rows) < FEW else ""
    return before, now, f"on the {len(rows):,} of {len(test):,} test samples that neither has learnt from{few}"


def _score(model, test: arrays.Split, rows: np.ndarray, metric: str) -> float | None:
    from components.shared.models.scores import scores

    probabilities = keras_file.predict(model, test.images, name="compare")[rows]
    return scores(test.labels[rows], probabilities)[metric] if np.isfinite(probabilities).all() else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None  # a share; NaN is none
