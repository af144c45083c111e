"""Great Expectations itself, in its own process: a suite in, what failed and Data Docs out."""

import logging
import os
import warnings
from pathlib import Path
from typing import Any

# Names of files and classes must not reach Data Docs as markup, nor as a variable of the templates behind them. Escapes as
# Python writes them are harmless wherever a page puts them, and different names stay different.
_ESCAPES = {char: f"\\x{ord(char):02x}" for char in "\\<>&\"'`${}"}
_COLUMNS = ["id", "shard", "source", "split", "label", "fault_code", "mode", "format", "frames", "width", "height", "frame_sizes",
            "bytes", "trailing", "faces", "brightness", "dark_level", "bright_level", "red", "green", "blue", "contrast",
            "common", "entropy", "sharpness"]  # fmt: skip


def load() -> None:
    """Load the library: seconds, which pass while the checks run."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations.expectations  # noqa: F401

    from components.validate import ratio  # noqa: F401  # our own expectation becomes known by being defined

    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)


def judge(manifest: Path, suite: list[dict], docs: Path) -> dict[str, str]:
    """Evaluate the suite on the manifest and write Data Docs; returns the name of each that fails, and what was observed.

    `suite`: dictionaries of `kind` (name of the class), `options`, `severity` and `name`.
    """
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    site = {
        "class_name": "SiteBuilder",
        "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        "store_backend": store,
    }
    context.add_data_docs_site(site_name="docs", site_config=site)
    expectations = [
        _kind(each["kind"])(**each["options"], severity=each["severity"], description=each["name"], meta={"name": each["name"]})
        for each in suite
    ]
    asset = context.data_sources.add_pandas("darkroom").add_dataframe_asset("manifest")
    batch = asset.add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(
        name="manifest", data=batch, suite=context.suites.add(gx.ExpectationSuite(name="manifest", expectations=expectations))
    )
    checkpoint = gx.Checkpoint(
        name="manifest", validation_definitions=[context.validation_definitions.add(definition)], result_format="SUMMARY"
    )
    outcome = context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": _table(manifest)})
    (results,) = outcome.run_results.values()
    failed = {each.expectation_config.meta["name"]: _observed(each) for each in results.results if not each.success}
    context.build_data_docs(site_names=["docs"])
    return failed


def _kind(name: str) -> Any:
    import great_expectations.expectations as known

    from components.validate import ratio

    return getattr(ratio, name, None) or getattr(known, name)


def _table(manifest: Path):
    """The manifest as a pandas DataFrame with harmless names, and `training_label`: the labels of what is trained on."""
    from components.shared.data import manifest as manifests

    rows = manifests.read(manifest, _COLUMNS)
    rows["id"] = rows["id"].where(rows["id"].isna(), "given").astype("category")  # 64 letters each that nobody reads
    rows["label"] = manifests.labels(rows)
    for column in ("source", "shard", "label", "fault_code", "mode", "format", "split"):
        rows[column] = _harmless(rows[column])
    rows["training_label"] = rows["label"].where(rows["split"].isna() | (rows["split"] == "train"))
    return rows


def _harmless(texts):
    """A pandas Series of texts with _ESCAPES in them. Arrow does it without an object for each."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(texts, pa.large_string(), from_pandas=True)
    for char, escape in _ESCAPES.items():
        values = pc.replace_substring(values, char, escape)
    return pd.Series(values.to_pandas(), texts.index).astype("str")


def _observed(result) -> str:
    """What is wrong, in a few words."""
    raised = result.exception_info or {}  # one, or one for each metric by its name
    for each in (raised, *(each for each in raised.values() if isinstance(each, dict))):
        if each.get("raised_exception"):
            return f"it could not be evaluated: {each.get('exception_message')}"
    facts = result.result
    if "unexpected_count" not in facts:
        return f"observed: {facts.get('observed_value')}"
    values = [value for value in facts.get("partial_unexpected_list", []) if value is not None and value == value]  # NaN is not
    some = ", ".join(dict.fromkeys(repr(str(value)) for value in values))[:200]
    return f"not so for {facts['unexpected_count']:,} of {facts['element_count']:,}" + (f": {some}" if some else "")
