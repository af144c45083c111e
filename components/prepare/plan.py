"""All that is decided before a picture is decoded: the split, each sample's place, labels, the layout; leakage counted anew."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from components.prepare.config import PrepareConfig
from components.shared import files
from components.shared.data import arrays, seen
from components.shared.data import manifest as manifests
from components.shared.data.dataset import SPLITS
from components.shared.errors import CannotRun, Refused

FEW = 20  # test samples of a class; with fewer, what is said of the class says little
_FACTS = ["id", "label", "group", "split", "pixels_digest", "frames", "width", "height", "fault_code"]


@dataclass(frozen=True)
class Plan:
    """Where every usable sample goes.

    `places`: a row per sample in the manifest's order: `shard`, its `row` there, `key` (of its id), `split` (an index of
    SPLITS), and its `position` in that split. `shards`: name -> md5 of each shard that was measured.
    """

    places: pa.Table
    shards: dict[str, str]
    layout: arrays.Layout

    def count(self, split: str) -> int:
        """The number of samples of a split."""
        return int((self.places["split"].to_numpy() == SPLITS.index(split)).sum())


def make(*, manifest: Path, verdict: Path, pairs: Path, config: PrepareConfig, folder: Path) -> Plan:
    """Decide everything that needs the whole, and write all but the pixels into `folder`: layout, labels, samples, split.json.

    Raises Refused when the data did not pass or cannot be split, CannotRun when verdict or pairs are of other data.
    """
    from components.prepare import leakage
    from components.prepare.split import assign, units

    summary = files.read_json(verdict, "passed")
    if not summary["passed"]:
        raise Refused(f"{verdict}: the data did not pass; findings.json beside it says why")
    if summary["data_digest"] != manifests.data_digest(manifest):
        raise CannotRun(f"{verdict}: is about other data than {manifest}; `dvc repro` brings them together")
    if "validate" not in summary.get("knobs", {}):
        raise CannotRun(f"{verdict}: was written by an older version; `dvc repro -f validate` writes it anew")
    rows = _read(manifest)
    # A severity of less than error lets such samples pass validation; there is nothing of them to learn from.
    usable = (rows.pop("decoded") & manifests.labels(rows).notna()).to_numpy()
    if not usable.any():
        raise Refused(f"prepare: {manifest} has no sample with pixels and a label; findings.json of validate says why")
    if not usable.all():
        print(f"prepare: {(~usable).sum():,} samples without pixels or label are left out; findings.json names them")
    alike = leakage.read_pairs(pairs, len(rows), summary["data_digest"])
    rows["label"] = rows["label"].where(usable).cat.remove_unused_categories()
    related = units(rows["key"].to_numpy(), rows["group"], alike)
    unit = related if config.keep_alike_together else units(rows["key"].to_numpy(), rows["group"], alike[:0])
    split = np.full(len(rows), None, object)
    split[usable] = assign(rows[usable].reset_index(drop=True), unit[usable], config)
    leaks = leakage.leaking(manifest, rows["key"].to_numpy(), split, summary["knobs"]["validate"])

    rows["split_code"] = pd.Categorical(split, SPLITS).codes
    rows["position"] = rows.groupby("split_code").cumcount()
    time = min(int(rows.loc[usable, "frames"].max()), config.max_frames)
    shape = (config.height, config.width, config.channels)
    shape = (time, *shape) if rows.loc[usable, "frames"].max() > 1 else shape
    classes = list(rows["label"].cat.categories)
    # Of the knobs these alone: a severity of validate that is changed must not train two networks again.
    layout = arrays.Layout(classes, shape, summary["data_digest"], {"prepare": config.model_dump()})
    plan = Plan(_places(rows[usable]), manifests.shard_digests(manifest), layout)
    plan.layout.write(folder)
    for name in SPLITS:
        (folder / name).mkdir(parents=True)
        labels = rows["label"].cat.codes[split == name].to_numpy()
        arrays.describe(folder / name, labels, _samples(manifest, split == name, related))
    _record(rows, split, leaks, config, folder)
    _tell(rows[usable], split[usable], leaks, plan.layout, config)
    return plan


def _read(manifest: Path) -> pd.DataFrame:
    """What a split needs of every row. Of texts that are many, a digest: names of 10 million files would fill a memory."""

    def tables() -> Iterator[pa.Table]:
        for shard, table in manifests.parts(manifest, _FACTS):
            added = {
                "shard": pa.repeat(shard, len(table)),
                "row": np.arange(len(table), dtype=np.int32),
                "key": seen.keys(table.rename_columns({"pixels_digest": "picture"}))[:, 0],
                "id_key": seen.digests("id", table["id"].to_pylist()),
                "decoded": table["fault_code"].is_null(),
            }
            for name, values in added.items():
                table = table.append_column(name, values if name in ("shard", "decoded") else pa.array(values))
            yield table.drop_columns(["id", "pixels_digest", "fault_code"])

    return manifests.frame(tables(), ["label", "group", "split", "shard"])


def _places(rows: pd.DataFrame) -> pa.Table:
    shards = rows["shard"].cat.remove_unused_categories().cat
    columns = {
        "shard": pa.DictionaryArray.from_arrays(shards.codes.astype(np.int32), pa.array(shards.categories, pa.string())),
        "row": rows["row"].to_numpy(np.int32),
        "key": rows["id_key"].to_numpy(np.uint64),
        "split": rows["split_code"].to_numpy(np.int8),
        "position": rows["position"].to_numpy(np.int64),
    }
    return pa.table(columns)


def _samples(manifest: Path, chosen: np.ndarray, unit: np.ndarray) -> Iterator[pa.Table]:
    """The samples of these rows, bool (n,), a part of the manifest at a time."""
    start = 0
    for _, table in manifests.parts(manifest, ["id", "source", "label", "group", "pixels_digest"]):
        here = chosen[start : start + len(table)]
        kept, units = table.filter(pa.array(here)), unit[start : start + len(table)][here]
        start += len(table)
        picture = kept["pixels_digest"].combine_chunks()
        kept = kept.append_column("picture", picture.fill_null(kept["id"].combine_chunks()))
        yield kept.select(["id", "source", "label", "group", "picture"]).append_column("unit", pa.array(units, pa.int64()))


def _record(rows: pd.DataFrame, split: np.ndarray, leaks: dict, config: PrepareConfig, folder: Path) -> None:
    official = set(rows["split"].dropna())
    content = {
        name: {
            "origin": "official" if name in official else "drawn",
            "samples": int((split == name).sum()),
            "classes": {label: int(n) for label, n in rows.loc[split == name, "label"].value_counts(sort=False).items() if n},
            **({"with_a_twin_in": leaks[name]} if name in leaks else {}),
        }
        for name in SPLITS
    }
    files.write_json(folder / "split.json", {"split_seed": config.split_seed, "splits": content})


def _tell(rows: pd.DataFrame, split: np.ndarray, leaks: dict, layout: arrays.Layout, config: PrepareConfig) -> None:
    counts = ", ".join(f"{(split == name).sum():,} {name}" for name in SPLITS)
    print(f"prepare: {counts}; arrays of {'x'.join(map(str, layout.shape))}")
    official = set(rows["split"].dropna())
    twins = " and ".join(
        f"{leaks[name]['train']:,} samples of {name}{' (official)' if name in official else ''}"
        for name in ("test", "validation")
    )
    print(f"prepare: {twins} have a twin in training")
    test = rows.loc[split == "test", "label"].astype("str").value_counts()
    if test.min() < FEW:
        print(f"prepare: class {test.idxmin()!r} has {test.min()} test samples: a single one moves its recall by "
              f"{1 / test.min():.0%}; bring more, or raise prepare.test_fraction")  # fmt: skip
    width, height = int(rows["width"].median()), int(rows["height"].median())
    if max(width / config.width, height / config.height) >= 8:
        print(f"prepare: pictures of {width}x{height} px (median) become {config.width}x{config.height}: "
              "detail may be lost; see prepare.height and prepare.width")  # fmt: skip
