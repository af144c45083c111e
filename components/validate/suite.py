"""Run the checks, let Great Expectations pass or fail each, and turn what failed into findings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from components.shared.errors import CannotRun
from components.validate import expectations
from components.validate.checks import BY_CODE, CHECKS, Check
from components.validate.config import ValidateConfig
from components.validate.context import Context

KEPT = 1000  # items of one finding that findings.json keeps; its message counts them all
# Our word for how bad it is -> Great Expectations'.
_SEVERITIES = {"error": "critical", "warning": "warning", "info": "info"}


@dataclass(frozen=True)
class Finding:
    """One thing that validation has to say. `rows`: a row per faulty sample (see `found`); none when it is about the whole."""

    code: str
    severity: str
    message: str
    fix: str
    rows: pd.DataFrame
    check: Check

    def items(self, context: Context) -> list[str]:
        """A line per faulty sample, KEPT at most, escaped so that a hostile name cannot write over the terminal."""
        some = self.rows.head(KEPT)
        sources = context.rows["source"].iloc[some.index]
        return [escaped(_item(source, reason)) for source, reason in zip(sources, some["reason"], strict=True)]


def _item(source: str, reason: str) -> str:
    if not reason:
        return source
    return f"{source} {reason}" if reason[0] in "=~" else f"{source}: {reason}"


def escaped(text: str) -> str:
    """Control characters, bad bytes and what turns the direction of writing are shown as escapes; other letters stay."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


@dataclass(frozen=True)
class Checked:
    """What every check that is not off found, by its code, and what waits for the codes that Great Expectations fails."""

    results: dict[str, pd.DataFrame | str]
    failed: Callable[[], set[str]]


def check(context: Context, *, docs: Path) -> Checked:
    """Check everything. Great Expectations has begun to judge it; Data Docs go to `docs`, whole after `expectations.finish`.

    Raises CannotRun for a bad severity.
    """
    _refuse_unknown(context.limits)
    results = {check.code: check.run(context) for check in CHECKS if context.limits.severity[check.code] != "off"}
    expected = {
        code: (
            _SEVERITIES[context.limits.severity[code]],
            f"{code} finds {BY_CODE[code].message}. What to do: {BY_CODE[code].fix}.",
        )
        for code in results
    }
    return Checked(
        results, expectations.judge({"samples": _samples(context, results), "data set": _whole(results)}, expected, docs)
    )


def findings(context: Context, checked: Checked) -> list[Finding]:
    """What failed, the worst first."""
    failed = checked.failed()
    found = [
        finding
        for code, result in checked.results.items()
        if code in failed
        for finding in _as_findings(BY_CODE[code], result, context)
    ]
    order = list(_SEVERITIES)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def _samples(context: Context, results: dict) -> pd.DataFrame:
    """A row per sample, a column per check with its reasons. Categories, since most of a million cells are empty."""
    table = {"source": context.rows["source"]}
    for code, result in results.items():
        if isinstance(result, pd.DataFrame):
            said = result["reason"].where(result["reason"] != "", "yes").astype("str").astype("category")
            table[code] = said.reindex(context.rows.index)
    return pd.DataFrame(table)


def _whole(results: dict) -> pd.DataFrame:
    """One row, a column per check of the whole, with what it says."""
    said = {code: [result] for code, result in results.items() if not isinstance(result, pd.DataFrame)}
    return pd.DataFrame({"source": ["the data set"], **said}, dtype=object)


def _as_findings(check: Check, result: pd.DataFrame | str, context: Context) -> list[Finding]:
    severity, fix = context.limits.severity[check.code], check.fix
    if isinstance(result, str):
        rows = pd.DataFrame(columns=["reason", "other", "suggested", "code"])
        return [Finding(check.code, severity, f"{check.message}: {result}", fix, rows, check)]
    message = check.message
    if check.code == "E_UNDECODABLE" and context.limits.quarantine == "skip":
        share, limit = len(result) / len(context.rows), context.limits.max_quarantined
        if share <= limit:
            severity, message, fix = (
                "warning",
                "skipped, being no whole picture",
                "nothing: they are left out (validate.quarantine)",
            )
        else:
            message += f" ({share:.1%}, more than may be skipped: validate.max_quarantined {limit:.1%})"
    groups = result.groupby(result["code"].fillna(check.code), sort=True)
    return [
        Finding(str(code), severity, f"{len(part):,} of {len(context.rows):,}: {message}", fix, part, check)
        for code, part in groups
    ]  # fmt: skip


def _refuse_unknown(limits: ValidateConfig) -> None:
    wrong = [
        f"validate.severity.{code}: no such check; there are: {', '.join(sorted(BY_CODE))}"
        for code in sorted(limits.severity.keys() - BY_CODE.keys())
    ]
    wrong += [
        f"validate.severity.{code}: missing; error, warning, info or off" for code in BY_CODE if code not in limits.severity
    ]
    if wrong:
        raise CannotRun(*wrong)


def write_table(found: list[Finding], context: Context, file: Path) -> None:
    """Every faulty sample of every finding, a row each: what `darkroom fix` reads, and a notebook may."""
    facts = context.rows[["id", "shard", "source", "split", "label", "group"]]
    columns = ["code", "severity", "problem", "action", *facts.columns, "reason", "other", "suggested"]
    parts = [pd.DataFrame(columns=columns)]
    for finding in found:
        part = facts.loc[finding.rows.index].assign(
            code=finding.code,
            severity=finding.severity,
            problem=finding.check.message,
            action=finding.check.action,
            reason=finding.rows["reason"],
            other=finding.rows["other"].map(context.rows["source"], na_action="ignore"),
            suggested=finding.rows["suggested"],
        )
        parts.append(part[columns])
    pd.concat(parts).astype("str").to_parquet(file, index=False)
