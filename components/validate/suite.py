"""Run the checks and turn what fails into findings, the worst first."""

import pandas as pd

from components.validate import expectations
from components.validate import finding as tables
from components.validate.checks import BY_CODE, CHECKS, Check
from components.validate.context import Context
from components.validate.items import Finding

_ORDER = ("error", "warning", "info")


def check(context: Context) -> list[Finding]:
    """The findings of every check that is not off; those of Great Expectations come with `with_expectations`."""
    return [
        finding
        for check in CHECKS
        if check.run and context.limits.severity[check.code] != "off"
        for finding in _findings(check, check.run(context), context)
    ]


def with_expectations(context: Context, failed: dict[str, str], findings: list[Finding]) -> list[Finding]:
    """All findings, the worst first, with one for the expectations that fail and that no check covers."""
    broken = expectations.broken(failed, {each.check for each in findings}, context.limits)
    if context.limits.severity[expectations.CODE] == "off":
        broken = None
    codes = list(BY_CODE)
    both = [*findings, *_findings(BY_CODE[expectations.CODE], broken, context)]
    return sorted(both, key=lambda each: (_ORDER.index(each.severity), codes.index(each.check)))


def _findings(check: Check, result: pd.DataFrame | str | None, context: Context) -> list[Finding]:
    """One for a check of the whole; for a check of samples one per code, none when nothing is at fault."""
    severity, message, fix = context.limits.severity[check.code], check.message, check.fix
    if result is None or len(result) == 0:
        return []
    if isinstance(result, str):
        about_all = f"{message}: {result}"
        return [Finding(check.code, severity, about_all, fix, check.action, tables.none(), check.code, check.doc)]
    if check.code == "E_UNDECODABLE" and context.limits.quarantine == "skip":
        share, limit = len(result) / len(context.rows), context.limits.max_quarantined
        if share <= limit:
            severity, message = "warning", "skipped, being no whole picture"
            fix = "nothing: they are left out (validate.quarantine)"
        else:
            message += f" ({share:.1%}, more than may be skipped: validate.max_quarantined {limit:.1%})"
    if check.code == "W_LABEL_SUSPECT" and context.opinion.judged < len(context.rows):
        message += f" ({context.opinion.judged:,} were judged, a share of every class, to bound the work)"
    counted = f"of {len(context.rows):,}: {message}"
    return [
        Finding(str(code), severity, f"{len(part):,} {counted}", fix, check.action, part, check.code, check.doc)
        for code, part in result.groupby(result["code"].fillna(check.code), sort=True)
    ]
