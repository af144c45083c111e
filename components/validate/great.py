"""Great Expectations itself, in its own process: a suite in, what failed and Data Docs out."""

import gc
import itertools
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
_PIECE = 250_000  # rows
_PATHS = 1_000_000  # numbers of paths that are compared at once
_NO_PATH = 0
# What no piece can tell, and the columns that it is about:
_OF_PATHS = {"ExpectCompoundColumnsToBeUnique", "ExpectColumnValuesToBeUnique"}
_OF_CLASSES = {"ExpectTableRowCountToBeBetween", "ExpectColumnUniqueValueCountToBeBetween", "ExpectColumnClassRatioToBeAtMost"}
_LABELS = ("label", "training_label")


def load() -> None:
    """Load the library: seconds, which pass while the checks run."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations.expectations  # noqa: F401

    from components.validate import ratio  # noqa: F401  # our own expectation becomes known by being defined

    warnings.filterwarnings("ignore", module="great_expectations")
    logging.getLogger("great_expectations").setLevel(logging.ERROR)


def judge(manifest: Path, suite: list[dict], docs: Path) -> dict[str, str]:
    """Evaluate the suite on the manifest and write Data Docs; returns the name of each that fails, and what was observed.

    `suite`: dictionaries of `kind` (name of the class), `options`, `severity` and `name`. A manifest of more than _PIECE rows
    is given in pieces; what needs the whole is then expected of all labels, and of the paths, a number for each, in shares.
    """
    import numpy as np
    import pandas as pd
    from pandas.api.types import union_categoricals

    site, held = _Site(docs), []
    for number, (is_all, piece) in enumerate(_pieces(manifest)):
        if is_all:
            site.run("manifest", suite, piece)
            break
        site.run(f"rows {number}", [each for each in suite if each["kind"] not in {*_OF_PATHS, *_OF_CLASSES}], piece)
        held.append({name: pd.Categorical(piece[name]) for name in ("shard", *_LABELS)} | {"source": _numbers(piece["source"])})
        del piece
    if not is_all:
        labels = pd.DataFrame({name: union_categoricals([each[name] for each in held]) for name in _LABELS})
        site.run("classes", [each for each in suite if each["kind"] in _OF_CLASSES], labels)
        del labels
        shards, sources = (
            union_categoricals([each["shard"] for each in held]),
            np.concatenate([each["source"] for each in held]),
        )
        del held
        shares = 1 + len(sources) // _PATHS
        of_share = (sources.view(np.uint64) % np.uint64(shares)).astype(np.uint16)
        for share in range(shares):  # what is the same has the same number, and so is in one share
            here = of_share == share
            known = pd.arrays.IntegerArray(sources[here], sources[here] == _NO_PATH)
            table = pd.DataFrame({"source": known, "shard": shards[here]})
            site.run(f"paths {share}", [each for each in suite if each["kind"] in _OF_PATHS], table)
    site.context.build_data_docs(site_names=["docs"])
    failed = {name: results for name, results in site.results.items() if not all(each.success for each in results)}
    names = {} if is_all else _names(manifest, failed.get("every sample has a source of its own", []))
    return {name: _observed(results, names) for name, results in failed.items()}


class _Site:
    """Great Expectations with Data Docs in a folder; `results`: of each expectation by its name, one for each table."""

    def __init__(self, docs: Path) -> None:
        import great_expectations as gx

        self.context = gx.get_context(mode="ephemeral")
        self.context.variables.progress_bars = {"globally": False}
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs)}
        site = {
            "class_name": "SiteBuilder",
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
            "store_backend": store,
        }
        self.context.add_data_docs_site(site_name="docs", site_config=site)
        self.results: dict[str, list] = {}

    def run(self, name: str, suite: list[dict], table) -> None:
        """Evaluate expectations on a pandas DataFrame, and forget it."""
        import great_expectations as gx

        expectations = [
            _kind(each["kind"])(**each["options"], severity=each["severity"], description=each["name"], meta={"name": each["name"]})
            for each in suite
        ]  # fmt: skip
        asset = self.context.data_sources.add_pandas(f"darkroom {name}").add_dataframe_asset(name)
        suite = self.context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        batch = asset.add_batch_definition_whole_dataframe("all")
        definition = self.context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        checkpoint = gx.Checkpoint(name=name, validation_definitions=[definition], result_format="SUMMARY")
        outcome = self.context.checkpoints.add(checkpoint).run(batch_parameters={"dataframe": table})
        (results,) = outcome.run_results.values()
        for each in results.results:
            self.results.setdefault(each.expectation_config.meta["name"], []).append(each)
        self.context.data_sources.delete(f"darkroom {name}")
        gc.collect()  # the library's objects hold each other, and the table


def _kind(name: str) -> Any:
    import great_expectations.expectations as known

    from components.validate import ratio

    return getattr(ratio, name, None) or getattr(known, name)


def _pieces(manifest: Path):
    """The manifest as pandas DataFrames with harmless names, and whether each is all of it.

    `training_label`: the labels of what is trained on.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    from components.shared.data import manifest as manifests

    sizes, counts = [], []
    for _, table in manifests.parts(manifest, ["label"]):
        sizes.append(len(table))
        counts.append(table["label"].to_pandas().value_counts())
    none = manifests.no_labels(pd.concat(counts).groupby(level=0).sum())
    piece, held = np.cumsum(sizes) // (_PIECE + 1), []
    for number, (_, table) in enumerate(manifests.parts(manifest, _COLUMNS)):
        held.append(table)
        if number + 1 == len(piece) or piece[number + 1] > piece[number]:
            rows, held = pa.concat_tables(held).to_pandas(), []
            rows["id"] = rows["id"].where(rows["id"].isna(), "given").astype("category")  # 64 letters each that nobody reads
            rows["label"] = rows["label"].where(rows["label"].notna() & ~rows["label"].isin(none), None)
            for column in ("source", "shard", "label", "fault_code", "mode", "format", "split"):
                rows[column] = _harmless(rows[column])
            rows["training_label"] = rows["label"].where(rows["split"].isna() | (rows["split"] == "train"))
            yield piece[-1] == 0, rows
            del rows


def _numbers(texts):
    """A number for each text, int64 (n,): 64 bits of a hash; _NO_PATH for none."""
    import numpy as np
    import pandas as pd

    return np.where(texts.isna(), _NO_PATH, pd.util.hash_array(texts.to_numpy(object), categorize=False).view("int64"))


def _names(manifest: Path, results: list) -> dict[str, str]:
    """The paths that are meant by the numbers in these results."""
    import numpy as np

    from components.shared.data import manifest as manifests

    wanted, names = [int(value) for each in results for value in _listed(each)], {}
    for _, table in manifests.parts(manifest, ["source"]) if wanted else ():
        texts = _harmless(table["source"].to_pandas())
        numbers = _numbers(texts)
        rows = np.flatnonzero(np.isin(numbers, wanted))
        names |= {str(numbers[row]): texts.iat[row] for row in rows}
    return names


def _harmless(texts):
    """A pandas Series of texts with _ESCAPES in them. Arrow does it without an object for each."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pa.array(texts, pa.large_string(), from_pandas=True)
    for char, escape in _ESCAPES.items():
        values = pc.replace_substring(values, char, escape)
    return pd.Series(values.to_pandas(), texts.index).astype("str")


def _listed(result) -> list:
    """Some of the values that are not as expected."""
    values = (result.result or {}).get("partial_unexpected_list", [])
    return [value for value in values if value is not None and value == value]  # NaN is not


def _observed(results: list, names: dict) -> str:
    """What is wrong, in a few words: of all tables that an expectation was held against."""
    raised = [each.exception_info or {} for each in results]  # one, or one for each metric by its name
    for each in itertools.chain(raised, *([each for each in one.values() if isinstance(each, dict)] for one in raised)):
        if each.get("raised_exception"):
            return f"it could not be evaluated: {each.get('exception_message')}"
    if "unexpected_count" not in results[0].result:
        return f"observed: {results[0].result.get('observed_value')}"
    wrong, of = (sum(each.result[count] for each in results) for count in ("unexpected_count", "element_count"))
    values = [value for each in results for value in _listed(each)]
    values = [{key: names.get(str(part), part) for key, part in value.items()} if isinstance(value, dict)
              else names.get(str(value), value) for value in values]  # fmt: skip
    some = ", ".join(dict.fromkeys(repr(str(value)) for value in values))[:200]
    return f"not so for {wrong:,} of {of:,}" + (f": {some}" if some else "")
