"""Who becomes champion: one decision after the other, each counted, since a test split that decides again and again wears out."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

from components.register.candidates import Candidate
from components.register.comparison import PARTS, Verdict, compare
from components.register.config import RegisterConfig
from components.shared.runs.connection import ask
from components.shared.runs.registry import Registry
from components.shared.runs.turns import turn

FRESH = ".fresh"  # behind a test split's digest: decisions by a part of it
DECIDED = "decided"  # tag of a version: against which champion, by which samples


class Settled(NamedTuple):
    """`champion`: the version that was champion before, or None; `decisions`: of this test split so far, this one among them."""

    verdict: Verdict
    champion: Any
    decisions: int
    wear: str  # what to say of earlier decisions; empty: there were none


def settle(mlflow, registry: Registry, best: Candidate, version: str, prepared: Path, config: RegisterConfig) -> Settled:
    """Compare a candidate with the champion, and take its place or leave it.

    Others may do the same at this time. The same candidate against the same champion is the same question: it is not counted
    again, and asked of the same samples.
    """
    digest, fresh = best.test_digest, best.test_digest + FRESH

    def tags() -> dict[str, str]:
        return registry.client.get_model_version(registry.name, version).tags

    while True:
        champion = registry.champion()
        question = f"{champion and champion.version} {digest} {config.decide_on}"
        asked, _, part = ask(mlflow, tags).get(DECIDED, "").rpartition(" ")
        known, used, times = asked == question, registry.decisions(fresh), registry.decisions(digest)
        part = None if config.decide_on == "all" else int(part) if known else used
        # Outside of our turn, since it may take minutes to fetch the champion and to ask it.
        verdict = _verdict(champion, best, version, registry, prepared, config, part)
        with turn(mlflow, registry.client, registry.name, version) as write:
            present = registry.champion()
            moved = (present and present.version) != (champion and champion.version)
            if moved or (part is not None and not known and registry.decisions(fresh) != used):
                continue  # another one has become champion meanwhile, or has had this part: once more
            counts = bool(verdict.rows) and not known
            if counts:
                for key in (digest, fresh)[: 1 if part is None else 2]:
                    registry.count_decision(key)
                tag = functools.partial(registry.client.set_model_version_tag, registry.name, version, DECIDED)
                ask(mlflow, functools.partial(tag, f"{question} {part}"))
            before = times - (known and bool(verdict.rows))
            settled = Settled(verdict, champion, times + counts, _wear(before, times - used, part) if verdict.rows else "")
            if present and str(present.version) == version:
                return settled
            if not verdict.accepted:
                registry.challenge(version)
                return settled
            if write(functools.partial(registry.promote, version, verdict.reason)):
                return settled


def _verdict(
    champion, best: Candidate, version: str, registry: Registry, prepared: Path, config: RegisterConfig, part: int | None
):
    is_other = champion and str(champion.version) != version
    if is_other and (why := registry.withdrawn(version)):
        return Verdict(False, f"The champion stays: version {version} was rolled back ({why}); to bring it back all the same: "
                              f"darkroom rollback --to {version}")  # fmt: skip
    if is_other and part is not None and part >= PARTS:
        return Verdict(False, f"The champion stays: all {PARTS} parts of this test split have decided; bring new test samples, "
                              "draw others (prepare.split_seed), or set register.decide_on: all.")  # fmt: skip
    return compare(champion, best, version, registry, prepared, config, part)


def _wear(before: int, whole: int, part: int | None) -> str:
    if part is not None:
        return f"No part of this test split is quite fresh: all of it has decided {_times(whole)} before." if whole else ""
    if not before:
        return ""
    return (f"This test split has decided {_times(before)} before; the more often, the easier chance pleases it "
            "(register.decide_on: fresh).")  # fmt: skip


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
