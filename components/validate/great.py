"""Great Expectations itself, in a process of its own: it loads, and judges the manifest, while the checks run."""

import functools
import gc
import itertools
import logging
import multiprocessing
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

from components.shared import supervise
from components.shared.errors import CannotRun
from components.validate.config import ValidateConfig
from components.validate.expectations import Judged, expected

# Names of files and classes must not reach Data Docs as markup, nor as a variable of the templates behind them. Escapes as
# Python writes them are harmless wherever a page puts them, and different names stay different.
_ESCAPES = {char: f"\\x{ord(char):02x}" for char in "\\<>&\"'`${}"}
_PIECE = 250_000  # rows that are judged at once, and those of a part more


@functools.cache
def process() -> ProcessPoolExecutor:
    """The process, which begins to load the library when it is first asked for."""
    # Spawned, not forked: Arrow runs threads that do not survive a fork.
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=supervise.end_with_parent)
    pool.submit(load)
    return pool


def judge(manifest: Path, limits: ValidateConfig, docs: Path) -> Callable[[], list[Judged]]:
    """Begin to `evaluate` there, and do not wait; what is returned waits for the outcome."""
    with _alive():
        return _alive()(process().submit(evaluate, manifest.absolute(), limits, docs.absolute()).result)


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        process.cache_clear()
        raise CannotRun("validate: Great Expectations' process was killed, perhaps for want of memory; run it again") from None


def load() -> None:
    """Load the library, which takes seconds."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    gc.disable()  # thousands of modules hold no garbage
    import great_expectations.expectations  # noqa: F401

    gc.freeze()
    gc.enable()
    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)


def evaluate(manifest: Path, limits: ValidateConfig, docs: Path) -> list[Judged]:
    """Hold the manifest against what is expected, and write Data Docs."""
    import great_expectations as gx

    from components.shared.data import manifest as manifests

    suite = expected(limits)
    columns = sorted(
        {"source", "label", "split", *(getattr(each, "column", None) for each in suite)} & {*manifests.SCHEMA.names}
    )
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {"class_name": "SiteBuilder", "site_index_builder": index, "store_backend": store}
    context.add_data_docs_site(site_name="docs", site_config=site)
    known = context.suites.add(gx.ExpectationSuite(name="manifest", expectations=suite))
    results = defaultdict(list)
    for number, rows in enumerate(_pieces(manifest, columns)):
        name = f"piece {number}"
        batch = context.data_sources.add_pandas(name).add_dataframe_asset(name).add_batch_definition_whole_dataframe(name)
        definition = gx.ValidationDefinition(name=name, data=batch, suite=known)
        for each in definition.run(batch_parameters={"dataframe": rows}, result_format="SUMMARY").results:
            results[each.expectation_config.meta["name"]].append(each)
        context.data_sources.delete(name)
        gc.collect()  # the library's objects hold each other, and the rows
    context.build_data_docs(site_names=["docs"])
    return [Judged(**each.meta, failed=_failed(results[each.meta["name"]])) for each in suite]


def _pieces(manifest: Path, columns: list[str]) -> Iterator:
    """These columns as pandas DataFrames with harmless names, and beside them what takes the whole manifest to know of a row.

    `repeated_source`: its source, where another row has the same; `classes`: how many there are; `imbalance`: of what is trained
    on, how many times larger the largest class is than its own.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    from components.shared.data import manifest as manifests

    hashes = [
        pd.util.hash_array(table["source"].to_numpy(), categorize=False) for _, table in manifests.parts(manifest, ["source"])
    ]
    first = manifests.firsts(np.concatenate(hashes))
    repeated = np.bincount(first)[first] > 1
    held = manifests.frame((table for _, table in manifests.parts(manifest, ["label", "split"])), ["label", "split"])
    labels = manifests.labels(held)
    training = labels.where(held["split"].isna() | (held["split"] == "train"))
    sizes = training.value_counts()
    imbalance = sizes.max() / training.map(sizes).astype("float32")

    harmful = re.escape("".join(_ESCAPES))
    start, parts = 0, zip(np.cumsum([len(part) for part in hashes]) // _PIECE, manifests.parts(manifest, columns), strict=True)
    for _, group in itertools.groupby(parts, key=lambda part: part[0]):
        table = pa.concat_tables([table for _, (_, table) in group])
        for place, field in enumerate(table.schema):
            if field.type == pa.string() and pc.any(pc.match_substring_regex(table[field.name], f"[{harmful}]")).as_py():
                texts = functools.reduce(
                    lambda texts, pair: pc.replace_substring(texts, *pair), _ESCAPES.items(), table[field.name]
                )
                table = table.set_column(place, field, texts)
        rows, here = table.to_pandas(), slice(start, start + len(table))
        rows["label"] = rows["label"].where(labels[here].notna().to_numpy(), None)
        rows["classes"] = labels.nunique()
        rows["imbalance"] = imbalance[here].to_numpy()
        rows["repeated_source"] = rows["source"].where(repeated[here])
        # With numbers of 64 bits: those alone the library compares all at once, others one by one.
        yield rows.astype({name: f"{kind.kind}8" for name, kind in rows.dtypes.items() if kind.kind in "if"})
        start = here.stop


def _failed(pieces: list) -> str:
    """What is wrong, in a few words, by the results of an expectation for all pieces; empty when it holds for each."""
    results = [each.result for each in pieces]
    if all(each.success for each in pieces):
        return ""
    if not all(results):
        return "it could not be evaluated; Data Docs say why"
    if "unexpected_count" not in results[0]:
        return f"observed: {results[0].get('observed_value')}"
    wrong, of = (sum(each[count] for each in results) for count in ("unexpected_count", "element_count"))
    values = [value for each in results for value in each["partial_unexpected_list"]]
    some = ", ".join(dict.fromkeys(repr(str(value)) for value in values if value is not None and value == value))[:200]
    return f"not so for {wrong:,} of {of:,}" + (f": {some}" if some else "")
