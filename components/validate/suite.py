"""Run the checks with Great Expectations (ephemeral context, suite in code) and turn its results into findings."""

import logging
import os
import warnings
from pathlib import Path

import pandas as pd

from components.shared.errors import CannotRun
from components.validate.checks import Check, checks
from components.validate.config import ValidateConfig

KEPT = 1000  # items of one finding that are kept; its message counts them all
# Our word for how bad it is -> Great Expectations'.
_SEVERITIES = {"error": "critical", "warning": "warning", "info": "info"}


def findings(rows: pd.DataFrame, limits: ValidateConfig, *, docs: Path) -> list[dict]:
    """Check all rows; Data Docs go to `docs`. One finding per code, the worst first. Raises CannotRun for a bad severity."""
    table = checks(limits)
    _refuse_unknown(table, limits)
    active = [check for check in table if limits.severity[check.code] != "off"]
    results = _run(active, rows, limits, docs)
    found = []
    for check, result in zip(active, results, strict=True):
        if result.exception_info and result.exception_info.get("raised_exception"):
            raise CannotRun(f"validate: check {check.code} broke: {result.exception_info.get('exception_message')}")
        if not result.success:
            found += _as_findings(check, result, rows, limits.severity[check.code])
    order = list(_SEVERITIES)
    return sorted(found, key=lambda finding: order.index(finding["severity"]))


def _run(active: list[Check], rows: pd.DataFrame, limits: ValidateConfig, docs: Path) -> list:
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx

    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.absolute())},
        },
    )
    expectations = []
    for check in active:
        expectation = check.expectation
        expectation.severity = _SEVERITIES[limits.severity[check.code]]
        expectation.description = f"{check.code} finds {check.message}. What to do: {check.fix}."
        expectation.meta = {"code": check.code}
        expectations.append(expectation)
    suite = context.suites.add(gx.ExpectationSuite(name="pictures", expectations=expectations))
    batch = (
        context.data_sources.add_pandas("darkroom").add_dataframe_asset("manifest").add_batch_definition_whole_dataframe("all")
    )
    definition = context.validation_definitions.add(gx.ValidationDefinition(name="pictures", data=batch, suite=suite))
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="gate",
            validation_definitions=[definition],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs", site_names=["docs"])],
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": rows.assign(row=range(len(rows)))})
    results = next(iter(outcome.run_results.values())).results
    by_code = {result.expectation_config.meta["code"]: result for result in results}
    return [by_code[check.code] for check in active]


def _as_findings(check: Check, result, rows: pd.DataFrame, severity: str) -> list[dict]:
    faulty = rows.iloc[[entry["row"] for entry in result.result.get("unexpected_index_list") or []]]
    if check.names_code:
        # A sample may have several notes, each a finding of its own.
        codes = faulty[check.names_code].str.split()
        found_codes = sorted({code for several in codes for code in several})
        groups = [(code, faulty[codes.map(lambda several, code=code: code in several)]) for code in found_codes]
    else:
        groups = [(check.code, faulty)]
    found = []
    for code, part in groups:
        items = [_named(check, row) for row in part.head(KEPT).to_dict("records")]
        observed = result.result.get("observed_value")
        if len(part):
            message = f"{len(part):,} of {len(rows):,}: {check.message}"
        else:
            message = check.message + (f": {observed}" if observed is not None else "")
        found.append({"code": code, "severity": severity, "message": message, "items": items, "fix": check.fix})
    return found


def _named(check: Check, row: dict) -> str:
    """One faulty sample, escaped so that a hostile name cannot write over the terminal."""
    column = getattr(check.expectation, "column", None)
    source = str(row["source"]).encode("unicode_escape").decode("ascii")
    if column == "fault_code":
        return f"{source}: {row['fault']}"
    detail = {
        "label_twin": f"{row['label']!r}, elsewhere {row['label_twin']!r}",
        "absent_from": f"{row['label']!r} is missing in {row['absent_from']}",
        "class_size": f"{row['label']!r} has {row['class_size']}",
        "labels_of_picture": repr(row["label"]),
        "splits_of_group": f"group {row['group']!r} in {row['split']}",
    }.get(str(column))
    return f"{source}: {detail}" if detail else source


def _refuse_unknown(table: list[Check], limits: ValidateConfig) -> None:
    codes = {check.code for check in table}
    wrong = [
        f"validate.severity.{code}: no such check; there are: {', '.join(sorted(codes))}"
        for code in limits.severity.keys() - codes
    ]
    wrong += [
        f"validate.severity.{code}: missing; error, warning, info or off" for code in sorted(codes - limits.severity.keys())
    ]
    if wrong:
        raise CannotRun(*wrong)
