"""Great Expectations, in a process of its own: it takes seconds to load, and meanwhile the checks are at work.

It gets a column per check, empty where all is well, and expects just that: its verdict and its Data Docs are about what our
checks found, sample by sample.
"""

import atexit
import functools
import gc
import importlib.util
import logging
import multiprocessing
import os
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.shared import supervise
from components.shared.errors import CannotRun

if TYPE_CHECKING:  # to load pandas here would keep that process waiting
    import pandas as pd

_writing: list[Future] = []  # here: Data Docs that are not whole yet
_context: Any = None  # in that process: Great Expectations' own, with the last verdict in it


def start() -> None:
    """Begin to load it, if that has not been done, and do not wait."""
    with _alive():
        _process()


def judge(tables: "dict[str, pd.DataFrame]", expected: dict[str, tuple[str, str]], docs: Path) -> Callable[[], set[str]]:
    """Begin to judge, and do not wait; what is returned waits for the codes whose column is not empty.

    `tables`: a column per code beside `source`. `expected`: code -> Great Expectations' severity, and a description. Its Data
    Docs go to `docs`, which is whole after `finish`.
    """
    with _alive():
        verdict = _process().submit(_run, tables, expected, docs.absolute())
        _writing.append(_process().submit(_write_docs))

    def failed() -> set[str]:
        with _alive():
            return verdict.result()

    return failed


def finish() -> None:
    """Wait until all Data Docs are written."""
    with _alive():
        while _writing:
            _writing.pop().result()


@functools.cache
def _process() -> ProcessPoolExecutor:
    # Spawned, not forked: Arrow runs threads that do not survive a fork.
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    pool.submit(_load)
    return pool


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        _process.cache_clear()
        _writing.clear()
        raise CannotRun("validate: Great Expectations' process was killed, perhaps for want of memory; run it again") from None


def _load() -> None:
    supervise.end_with_parent()
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # What it can do without, and is here for others: databases and clouds, a fifth of the time to load. A third is what a few of
    # its expectations need, none of ours.
    sys.modules.update(dict.fromkeys(("sqlalchemy", "boto3", "botocore", "google.cloud", "google.api_core", "google.auth")))
    _load_when_used("scipy.stats")
    sys.modules["altair"] = types.ModuleType("altair")  # draws for one of them; it cannot be loaded later, and is not asked for
    # Thousands of classes are made, none of them garbage: not to look for any saves a fifth of the time.
    gc.disable()
    import great_expectations.expectations  # noqa: F401

    gc.freeze()
    gc.enable()
    atexit.register(os._exit, 0)  # nor to take them apart in the end
    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)


def _load_when_used(name: str) -> None:
    """Python's own recipe for a lazy import, for a module that others import by its name."""
    spec = importlib.util.find_spec(name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    package, _, child = name.rpartition(".")
    setattr(sys.modules[package], child, module)


def _run(tables: "dict[str, pd.DataFrame]", expected: dict[str, tuple[str, str]], docs: Path) -> set[str]:
    import great_expectations as gx
    import great_expectations.expectations as gxe

    global _context
    _context = gx.get_context(mode="ephemeral")
    _context.variables.progress_bars = {"globally": False}
    _context.add_data_docs_site(
        site_name="docs",
        site_config={
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)},
        },
    )
    source = _context.data_sources.add_pandas("darkroom")
    failing = set()
    for name, table in tables.items():
        expectations = [
            gxe.ExpectColumnValuesToBeNull(column=code, severity=severity, description=description, meta={"code": code})
            for code, (severity, description) in expected.items()
            if code in table
        ]
        suite = _context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        definition = _context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(
            name=name,
            validation_definitions=[definition],
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": ["source"]},
        )
        outcome = _context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
        for result in next(iter(outcome.run_results.values())).results:
            code = result.expectation_config.meta["code"]
            if result.exception_info and result.exception_info.get("raised_exception"):
                raise CannotRun(f"validate: check {code} broke: {result.exception_info.get('exception_message')}")
            if not result.success:
                failing.add(code)
    return failing


def _write_docs() -> None:
    _context.build_data_docs(site_names=["docs"])
