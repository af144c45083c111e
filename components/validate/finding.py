"""What a check is, what it returns (a table with a row per faulty sample), and the findings that this becomes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from components.validate.context import Context

# `other`: number of the sample that it clashes with, -1 for none. `action`: what `darkroom fix` does with this very sample, where
# that differs from its check's (empty: nothing; `keep`: nothing, unless a person names it). `suggested`: the label or split that
# it should have. `code`: the finding that it belongs to, where a check has several.
COLUMNS = {"reason": "str", "other": "int64", "action": "str", "suggested": "str", "code": "str"}


@dataclass(frozen=True)
class Check:
    """`code`: stable; `message` says what is found, `why` that matters, `fix` what to do, `example` how an item reads.

    `run`: see checks.py. `action`: what `darkroom fix` does about it; empty where a person has to. `looks`: whether it goes by
    features, which it names. `kinds`: other codes that it gives, each with a message, a why and a fix of its own.
    """

    code: str
    run: Callable[..., pd.DataFrame | str | None]
    message: str
    why: str
    fix: str
    example: str = "cat/1.png"
    action: str = ""
    looks: bool = False
    kinds: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Finding:
    """What a check has to say of this data. `rows`: see the function `rows`; empty when the data set as a whole is at fault."""

    check: Check
    code: str
    severity: str
    message: str
    why: str
    fix: str
    rows: pd.DataFrame


def findings(check: Check, result: pd.DataFrame | str | None, context: Context) -> list[Finding]:
    """One for a check of the whole; for a check of samples one per code, none when nothing is at fault."""
    severity, said = context.limits.severity[check.code], ""
    if result is None or len(result) == 0:
        return []
    if check.looks and context.seen_by:
        said = f"; by {context.seen_by}"
    if isinstance(result, str):
        return [Finding(check, check.code, severity, f"{check.message}{said}: {result}", check.why, check.fix, none())]
    share, limit = len(result) / len(context.rows), context.limits.max_quarantined
    skipped = bool(check.kinds) and context.limits.quarantine == "skip" and share <= limit
    if skipped:
        severity, said = "warning", ", skipped"
    elif check.kinds and context.limits.quarantine == "skip":
        said = f" ({share:.1%}, more than may be skipped: validate.max_quarantined {limit:.1%})"
    if check.code == "W_LABEL_SUSPECT":
        opinion, guess = context.opinion, 1 / len(context.classes)
        said += (f"; the simple model behind them agrees with {opinion.accuracy:.0%} of the labels that it has not learnt from "
                    f"(mean over classes; a guess: {guess:.0%})")  # fmt: skip
        if opinion.judged < len(context.rows):
            said += f"; {opinion.judged:,} were judged, a share of every class, to bound the work"
    found = []
    for code, part in result.groupby(result["code"].fillna(check.code), sort=True):
        message, why, fix = check.kinds.get(code, (check.message, check.why, check.fix))
        fix = "nothing: they are left out (validate.quarantine)" if skipped else fix
        text = f"{len(part):,} of {len(context.rows):,}: {message}{said}"
        found.append(Finding(check, str(code), severity, text, why, fix, part))
    return found


def rows(faulty: pd.Index | pd.Series, reason: pd.Series | np.ndarray | str, **others: pd.Series | np.ndarray) -> pd.DataFrame:
    """A row per faulty sample, given by number or as a mask over all, with its reason and what COLUMNS names.

    Pass the values of the faulty rows only: texts for a million others cost seconds.
    """
    index = faulty.index[faulty.to_numpy(bool)] if isinstance(faulty, pd.Series) else faulty
    table = pd.DataFrame({"reason": reason, **others}, index=index).reindex(columns=list(COLUMNS))
    return table.fillna({"other": -1}).astype(COLUMNS)


def none() -> pd.DataFrame:
    """Nothing is at fault."""
    return rows(pd.Index([], dtype=int), "")


def pairs(one: np.ndarray, other: np.ndarray, reason: Callable[[np.ndarray, np.ndarray], pd.Series], **others) -> pd.DataFrame:
    """A row for `one` of each pair, with `other` beside it; of several pairs of a sample, the first.

    `reason` gets both sides at once, int (m,), and returns the m texts. `others` are columns for each pair, see COLUMNS.
    """
    numbers, first = np.unique(one, return_index=True)
    twins = other[first]
    texts = np.asarray(reason(numbers, twins), object)
    return rows(pd.Index(numbers, dtype=int), texts, other=twins, **{name: column[first] for name, column in others.items()})
