"""A candidate against the champion: on samples that neither has learnt from or was tuned on, both asked anew by their packages."""

import math
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from components.register import criteria
from components.register.candidates import Candidate
from components.register.config import RegisterConfig
from components.shared import scratch
from components.shared.data import arrays, seen
from components.shared.models import intervals
from components.shared.models.recogniser import Recogniser
from components.shared.runs import logged_model
from components.shared.runs.registry import IDENTITY, Registry, facts_of

TAGS = (IDENTITY, "weights_sha256", "classes", "shape", "test_digest")  # which each version of ours has
PARTS = 10  # of a test split, for decisions on samples that never decided before
CHUNK = 512  # samples that are read at once
LOOKS = 100  # at one sample, for the time that it takes


class Verdict(NamedTuple):
    """Whether the candidate becomes champion, why, in a sentence, and the criteria that were compared with the champion."""

    accepted: bool
    reason: str
    rows: list[criteria.Row] = []  # noqa: RUF012 - nobody writes into it


class Incomparable(Exception):
    """The text says why, with the champion as its subject."""


def compare(
    champion,
    candidate: Candidate,
    version: str,
    registry: Registry,
    prepared: Path,
    config: RegisterConfig,
    part: int | None = None,
) -> Verdict:
    """Judge a candidate, which is `version` of the registered model, against the present champion (None: there is none).

    The candidate becomes champion if it is better beyond chance and does no harm (see `criteria`). A champion that it cannot be
    compared with stays, unless `register.replace_incomparable_champion` says otherwise. `part`: of the test split, 0 to PARTS - 1,
    by which is decided; None: by all of it.
    """
    if champion is None:
        return Verdict(True, "There was no champion before.")
    if str(champion.version) == version:
        return Verdict(True, f"It is the champion already (version {version}).")
    if (
        champion.tags.get(IDENTITY) == candidate.identity
    ):  # the version of the same model is new, since the files of that one are damaged
        return Verdict(
            True, f"The champion so far (version {champion.version}) is the same model, but damaged; it is replaced."
        )
    try:
        before, now, where, rows = _judged(champion, candidate, registry, prepared, config, part)
    except Incomparable as reason:
        return _without_comparison(champion, str(reason), config)
    except logged_model.Unusable as error:
        return _without_comparison(champion, f"is not readable: {error}", config)
    name = config.compare_by.replace("_", " ")
    figures = f"{name} {now:.4f} {where}, the champion so far (version {champion.version}) {before:.4f}"
    if failed := [row.reason for row in rows if row.verdict == criteria.FAILS]:
        return Verdict(False, f"The champion stays: {figures}: {'; '.join(failed)}.", rows)
    unknown = [row.criterion for row in rows if row.verdict == criteria.UNKNOWN]
    harm = "no harm beyond the limits" + (f" (not compared: {', '.join(unknown)})" if unknown else "")
    return Verdict(True, f"Better than the champion: {figures}: {rows[0].reason}, and {harm}.", rows)


def _without_comparison(champion, reason: str, config: RegisterConfig) -> Verdict:
    what = f"the champion so far (version {champion.version}) {reason.rstrip('.')}"
    if config.replace_incomparable_champion:
        return Verdict(True, f"Not compared: {what}; register.replace_incomparable_champion replaces it.")
    return Verdict(False, f"The champion stays: {what}. To replace it all the same, set register.replace_incomparable_champion: "
                          "true in params.yaml and run `dvc repro`, or give the alias to another version in MLflow.")  # fmt: skip


def _judged(
    champion, candidate: Candidate, registry: Registry, prepared: Path, config: RegisterConfig, part: int | None
) -> tuple[float, float, str, list[criteria.Row]]:
    """The metric of the champion, that of the candidate, on which samples, and the criteria.

    Raises Incomparable, and Unusable when the champion's package cannot be read.
    """
    tags = facts_of(champion)
    if missing := [tag for tag in TAGS if tag not in tags]:
        raise Incomparable(f"was not registered by Darkroom, or has lost its tags (no {', '.join(missing)})")
    if tags["classes"] != candidate.classes_digest:
        raise Incomparable("recognises other classes")
    if not tags.get(logged_model.DIGEST):
        return _by_record(champion, candidate, config, part, "has no package, since an older Darkroom made it")
    with scratch.folder("champion") as folder:
        package = registry.package(champion, folder)
        if package.preprocessing != candidate.package.preprocessing:
            shape = list(candidate.record["shape"])
            return _by_record(champion, candidate, config, part, f"takes another shape ({tags['shape']}, not {shape})"
                              if tags["shape"] != str(shape) else "takes pictures that were resized by another rule")  # fmt: skip
        recognisers = Recogniser(package), Recogniser(candidate.package)
    test = arrays.load(prepared / "test")
    rows, where = _unseen(champion, candidate, registry, test, part)
    chunks = np.array_split(rows, 1 + len(rows) // CHUNK)
    answered = [np.concatenate([each.probabilities(test.images[chunk]) for chunk in chunks]) for each in recognisers]
    if not np.isfinite(answered[0]).all():
        raise Incomparable("answers with values that are no numbers")
    labels, said = test.labels[rows], [criteria.Said.of(probabilities) for probabilities in answered]
    units = intervals.units(test.table().take(rows))
    found = criteria.promotion(candidate.architecture, labels, *said, candidate.record["classes"], config, units=units)
    old, new = (_metric(config.compare_by, labels, each.predicted) for each in said)
    return (
        old,
        new,
        where,
        [*found, _corruption(champion, candidate, config), _latency(candidate, recognisers, test.images, config)],
    )


def _unseen(champion, candidate: Candidate, registry: Registry, test: arrays.Split, part: int | None) -> tuple[np.ndarray, str]:
    """Which test samples decide, int (m,), and how to say so."""
    chosen, where = np.ones(len(test), bool), f"on the same {len(test):,} test samples"
    if facts_of(champion)["test_digest"] != candidate.test_digest:
        learnt = registry.seen(champion)
        if learnt is None:
            raise Incomparable(
                "was scored on another test split, and its list of the samples that it has learnt from is lost or damaged"
            )
        chosen = seen.unseen(test.table(), learnt)
        where = f"on the {chosen.sum():,} of {len(test):,} test samples that neither has learnt from"
        if not chosen.any():
            raise Incomparable(f"has learnt from all of the {len(test):,} test samples")
    if part is not None:
        chosen &= parts(test) == part
        where = (
            f"on {chosen.sum():,} of {len(test):,} test samples, which never decided as part of it (part {part + 1} of {PARTS})"
        )
        if not chosen.any():
            raise Incomparable(f"meets no test sample in part {part + 1} of {PARTS}, which is to decide")
    return np.flatnonzero(chosen), where


def parts(test: arrays.Split) -> np.ndarray:
    """int (n,): in which of the PARTS each test sample lies, by a hash of its id; samples of one unit lie in one."""
    ids, units = pd.Series(test.table()["id"].to_pylist()), intervals.units(test.table())
    named = ids if units is None else ids.groupby(units).transform("min")
    return (seen.digests("part", named) % np.uint64(PARTS)).astype(int)


def _metric(name: str, labels: np.ndarray, predicted: np.ndarray) -> float:
    hits = pd.Series(predicted == labels)
    return float(hits.mean() if name == "accuracy" else hits.groupby(labels).mean().mean())


def _by_record(
    champion, candidate: Candidate, config: RegisterConfig, part: int | None, reason: str
) -> tuple[float, float, str, list[criteria.Row]]:
    """As well as can be, where the champion cannot be asked: by what was recorded of it on the same test samples, which is all."""
    if facts_of(champion)["test_digest"] != candidate.test_digest:
        raise Incomparable(f"was scored on another test split, and {reason}")
    if part is not None:
        raise Incomparable(f"{reason}, so that no part of the test split can decide (register.decide_on)")
    name = config.compare_by
    if (before := _recorded(champion, f"test_{name}")) is None:
        raise Incomparable(f"{reason}, and its test_{name} is {facts_of(champion).get(f'test_{name}')!r}")
    now, samples = candidate.metrics[name], candidate.metrics["samples"]
    low, high = candidate.intervals.get(name, (0.0, 0.0))
    half = (high - low) / 2 or 1.96 * (max(now * (1 - now), before * (1 - before)) / samples) ** 0.5
    where = f"on the same {samples:,} test samples (by its record: it {reason})"
    rows = [criteria.recorded(candidate.architecture, before, now, half, config)]
    for metric, criterion, knob, sign in (
        ("worst_class_recall", "fall of the worst class's recall", "class_harm", -1),
        ("expected_calibration_error", "growth of the calibration error", "calibration_harm", 1),
    ):
        limit, was = getattr(config, knob), _recorded(champion, f"test_{metric}")
        if was is None:
            rows.append(criteria.unknown(candidate.architecture, criterion, limit, "the champion has no record of it"))
        else:
            told, growth = f"{candidate.metrics[metric]:.4f}, the champion's is {was:.4f}", candidate.metrics[metric] - was
            rows.append(criteria.harm(candidate.architecture, criterion, sign * growth, limit, knob, told))
    unasked = criteria.unknown(candidate.architecture, "times as long", config.latency_harm, "the champion cannot be asked")
    return before, now, where, [*rows, _corruption(champion, candidate, config), unasked]


def _recorded(champion, tag: str) -> float | None:
    value = number(facts_of(champion).get(tag, ""))
    return value if value is not None and 0 <= value <= 1 else None  # a share


def number(said: object) -> float | None:
    """What a version says of itself, if that is a finite number: anyone who reaches the server writes tags."""
    try:
        value = float(said)
    except (ValueError, TypeError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _corruption(champion, candidate: Candidate, config: RegisterConfig) -> criteria.Row:
    name, limit = "growth of the mean corruption error", config.corruption_harm
    now, before = candidate.stress.get("mean_corruption_error"), _recorded(champion, "mean_corruption_error")
    ours, facts = (candidate.test_digest, str(candidate.stress.get("samples"))), facts_of(champion)
    theirs = facts["test_digest"], facts.get("stress_samples")
    if now is None or before is None or ours != theirs:
        return criteria.unknown(candidate.architecture, name, limit, "not measured of both on the same test samples")
    told = f"{now:.4f}, the champion's is {before:.4f}"
    return criteria.harm(candidate.architecture, name, now - before, limit, "corruption_harm", told)


def _latency(candidate: Candidate, recognisers: tuple, images: np.ndarray, config: RegisterConfig) -> criteria.Row:
    """Times that one sample takes; the two in turn, so that whatever else this machine does slows both."""
    seconds = np.empty((LOOKS, 2))
    for look in seconds:
        for which, recogniser in enumerate(recognisers):
            started = time.perf_counter()
            recogniser.probabilities(images[:1])
            look[which] = time.perf_counter() - started
    before, now = 1000 * np.median(seconds, axis=0)
    told = f"{now:.2f} ms for one sample, the champion {before:.2f} ms"
    return criteria.harm(candidate.architecture, "times as long", now / before, config.latency_harm, "latency_harm", told)
