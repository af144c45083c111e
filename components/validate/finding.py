"""What a check is, what it returns (a table with a row per faulty sample), and the findings that this becomes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from components.validate.context import Context

# `other`: number of the sample that it clashes with, -1 for none. `action`: what `darkroom fix` does with this very sample, where
# that differs from its check's (empty: nothing; `keep`: nothing, unless a person names it). `suggested`: the label or split that
# it should have. `code`: the finding that it belongs to, where a check has several.
COLUMNS = {"reason": "str", "other": "int64", "action": "str", "suggested": "str", "code": "str"}


@dataclass(frozen=True)
class Check:
    """`code`: stable; `message` says what is wrong, `fix` what to do, `example` how an item reads; see checks.py for `run`.

    `action`: what `darkroom fix` does about it; empty where a person has to. `looks`: whether it goes by features, which it names.
    """

    code: str
    run: Callable[..., pd.DataFrame | str | None]
    message: str
    fix: str
    example: str = "cat/1.png"
    action: str = ""
    looks: bool = False

    @property
    def doc(self) -> str:
        """What the check looks for, in a line."""
        return self.run.__doc__.splitlines()[0]


@dataclass(frozen=True)
class Finding:
    """What a check has to say of this data. `rows`: see the function `rows`; empty when the data set as a whole is at fault."""

    check: Check
    code: str
    severity: str
    message: str
    fix: str
    rows: pd.DataFrame


def findings(check: Check, result: pd.DataFrame | str | None, context: Context) -> list[Finding]:
    """One for a check of the whole; for a check of samples one per code, none when nothing is at fault."""
    severity, message, fix = context.limits.severity[check.code], check.message, check.fix
    if result is None or len(result) == 0:
        return []
    if check.looks and context.seen_by:
        message += f"; by {context.seen_by}"
    if isinstance(result, str):
        return [Finding(check, check.code, severity, f"{message}: {result}", fix, none())]
    if check.code == "E_UNDECODABLE" and context.limits.quarantine == "skip":
        share, limit = len(result) / len(context.rows), context.limits.max_quarantined
        if share <= limit:
            severity, message = "warning", "skipped, being no whole picture"
            fix = "nothing: they are left out (validate.quarantine)"
        else:
            message += f" ({share:.1%}, more than may be skipped: validate.max_quarantined {limit:.1%})"
    if check.code == "W_LABEL_SUSPECT":
        opinion, guess = context.opinion, 1 / len(context.classes)
        message += (f"; the simple model behind them agrees with {opinion.accuracy:.0%} of the labels that it has not learnt from "
                    f"(mean over classes; a guess: {guess:.0%})")  # fmt: skip
        if opinion.judged < len(context.rows):
            message += f"; {opinion.judged:,} were judged, a share of every class, to bound the work"
    return [
        Finding(check, str(code), severity, f"{len(part):,} of {len(context.rows):,}: {message}", fix, part)
        for code, part in result.groupby(result["code"].fillna(check.code), sort=True)
    ]


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
