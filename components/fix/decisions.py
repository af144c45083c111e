"""What happens to which sample, from the rows of the findings alone."""

from collections.abc import Collection
from dataclasses import dataclass

import pandas as pd

from components.shared.errors import CannotRun
from components.shared.page.render import plain

_GUESS = "relabel_chosen"  # the action for labels that a model suggests


@dataclass(frozen=True)
class Change:
    """What happens to one sample. `value`: the new label or split; `text`: the line that people read."""

    code: str
    action: str
    value: str
    text: str


def decide(findings: pd.DataFrame, apply: Collection[str], only: Collection[str]) -> dict[tuple[str, int], Change]:
    """(shard, row in it) -> what happens to it; a sample that is dropped for one finding is not changed for another.

    `findings`: rows of findings.parquet. A sample that is dropped for the sake of another (a copy, a twin) goes only if that one
    stays, and the one it goes for is not dropped for a third: of what is the same, one is left. Raises CannotRun.
    """
    findings = findings.assign(action=findings["action"].fillna(""))
    _refuse_unknown(findings, apply, only)
    chosen = findings[findings["code"].isin(list(apply)) & (findings["action"] != "")]
    if only:
        chosen = chosen[chosen["source"].isin(list(only))]
        # Where one of several copies is to stay, who names samples has decided which: exactly those go.
        copies = findings[findings["code"].isin(findings.loc[findings["action"] == "keep", "code"])]
        _refuse_all_copies(copies.assign(named=copies.index.isin(chosen.index)))
        by_name = chosen.index.isin(copies.index)
        chosen = chosen.assign(action=chosen["action"].mask(by_name, "drop"), other=chosen["other"].mask(by_name))
    chosen = chosen[chosen["action"] != "keep"]
    changes = _drops(chosen[chosen["action"] == "drop"])
    for row in chosen[chosen["action"] != "drop"].itertuples():
        action = "relabel" if row.action == _GUESS else row.action
        value = row.suggested if isinstance(row.suggested, str) else ""
        changes.setdefault((row.shard, row.row), Change(row.code, action, value, row.text))
    if not changes:
        raise CannotRun(f"{', '.join(apply)}: nothing to change; what these findings name stays as it is")
    return changes


def _drops(rows: pd.DataFrame) -> dict[tuple[str, int], Change]:
    changes, gone, stays = {}, set(), set()
    for row in rows.sort_values(
        "other", key=pd.Series.notna, kind="stable"
    ).itertuples():  # first what goes for no other's sake
        if isinstance(row.other, str):
            if row.source in stays or row.other in gone:
                continue
            stays.add(row.other)
        gone.add(row.source)
        changes.setdefault((row.shard, row.row), Change(row.code, "drop", "", row.text))
    return changes


def _refuse_unknown(findings: pd.DataFrame, apply: Collection[str], only: Collection[str]) -> None:
    fixable = set(findings.loc[~findings["action"].isin(["", "keep"]), "code"])
    wrong = [code for code in apply if code not in fixable]
    if wrong:
        raise CannotRun(*(f"--apply {code}: no finding that can be fixed so; the data has: {', '.join(sorted(fixable)) or 'none'}"
                          for code in wrong))  # fmt: skip
    chosen = findings[findings["code"].isin(list(apply))]
    guessed = sorted(set(chosen.loc[chosen["action"] == _GUESS, "code"]))
    if guessed and not only:
        raise CannotRun(
            f"--apply {guessed[0]}: a model's guess is no label; review report.html and name the right ones with --only"
        )
    if missing := sorted(set(only) - set(chosen["source"])):
        raise CannotRun(f"--only {plain(missing[0])}: nothing to change; it is not among the findings of {', '.join(apply)}")


def _refuse_all_copies(copies: pd.DataFrame) -> None:
    for _, group in copies.groupby(["code", "picture"]):
        if group["named"].all():
            paths = ", ".join(map(plain, group["source"].head(10)))
            raise CannotRun(f"--only: names every copy of one picture ({paths}); leave out the one to keep")
