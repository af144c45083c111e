"""All that is decided before a picture is decoded: the split, each sample's place, labels, the layout; leakage counted anew."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.prepare.config import PrepareConfig
from components.shared import files, screen
from components.shared.data import arrays, seen
from components.shared.data import manifest as manifests
from components.shared.data.dataset import SPLITS
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.preprocessing import Preprocessing

MEASURED = ["split", "width", "height", "mode", "format", "frames", "bytes", "brightness", "contrast", "sharpness", "faces"]
FEW = 20  # test samples of a class; with fewer, what is said of the class says little


@dataclass(frozen=True)
class Plan:
    """Where every usable sample goes.

    `split`: int8 (n,), an index of SPLITS for each row of the manifest, -1 for one that goes nowhere; `position`: int32 (n,), its
    place in that split. `rows`: which of them are of which shard, by its name; `shards`: name -> md5, as it was measured.
    """

    split: np.ndarray
    position: np.ndarray
    rows: dict[str, slice]
    shards: dict[str, str]
    layout: arrays.Layout
    way: Preprocessing

    def of(self, shard: str) -> tuple[np.ndarray, np.ndarray]:
        """Split and position of each sample of a shard, in its order."""
        return self.split[self.rows[shard]], self.position[self.rows[shard]]


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
        print(f"prepare: {screen.number((~usable).sum(), 'sample')} without pixels or label left out; findings.json names them")
    alike = leakage.read_pairs(pairs, len(rows), summary["data_digest"])
    key, group = rows["key"].to_numpy(), rows["group"]
    related = units(key, group, alike)
    unit = related if config.keep_alike_together else units(key, group, alike[:0])
    rows = rows[usable].reset_index(drop=True)
    rows["label"] = rows["label"].cat.remove_unused_categories()
    split = np.full(len(usable), -1, np.int8)
    split[usable] = assign(rows, unit[usable], config)
    rows = rows.drop(columns=["key", "group"])
    leaks = leakage.leaking(manifest, key, split, summary["knobs"]["validate"])

    most = int(manifests.column(manifest, "frames")[usable].max())
    time = min(most, config.max_frames) if most > 1 else None
    way = Preprocessing(config.height, config.width, config.channels, config.resize, time)
    classes = list(rows["label"].cat.categories)
    # Of the knobs these alone: a severity of validate that is changed must not train two networks again.
    layout = arrays.Layout(classes, way.shape, summary["data_digest"], {"prepare": config.model_dump()}, way.record())
    layout.write(folder)
    labels, sides, official = rows["label"].cat.codes.to_numpy(), split[usable], set(rows["split"].dropna().unique())
    for number, name in enumerate(SPLITS):
        (folder / name).mkdir(parents=True)
        arrays.describe(folder / name, labels[sides == number], _samples(manifest, split == number, related))
    _keep_measured(manifest, split == SPLITS.index("test"), folder / "test" / arrays.MEASURED)
    counts = pd.DataFrame({name: np.bincount(labels[sides == number], minlength=len(classes))
                           for number, name in enumerate(SPLITS)}, classes)  # fmt: skip
    _record(counts, official, leaks, config, folder)
    _tell(counts, official, leaks, layout, config)
    _tell_of_detail(manifest, usable, config)
    position = np.zeros(len(split), np.int32)
    for number in range(len(SPLITS)):
        position[split == number] = np.arange((split == number).sum())
    shards = manifests.shard_digests(manifest)
    starts = itertools.pairwise(manifests.starts(manifest))
    rows_of = {part.stem: slice(start, end) for (start, part), (end, _) in starts}
    return Plan(split, position, {name: rows_of[md5] for name, md5 in shards.items()}, shards, layout, way)


def _read(manifest: Path) -> pd.DataFrame:
    """What a split needs of every row. Of texts that are many, a digest: names of 10 million files would fill a memory."""

    def tables() -> Iterator[pa.Table]:
        for _, table in manifests.parts(manifest, ["id", "label", "group", "split", "pixels_digest", "fault_code"]):
            key = seen.keys(table.rename_columns({"pixels_digest": "picture"}))[:, 0]
            table = table.append_column("key", pa.array(key)).append_column("decoded", table["fault_code"].is_null())
            yield table.drop_columns(["id", "pixels_digest", "fault_code"])

    return manifests.frame(tables(), ["label", "group", "split"])


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


def _keep_measured(manifest: Path, chosen: np.ndarray, file: Path) -> None:
    """Write what evaluation may look for weaknesses by, of these rows, bool (n,)."""
    start, kept = 0, []
    for _, table in manifests.parts(manifest, MEASURED):
        kept.append(table.filter(pa.array(chosen[start : start + len(table)])))
        start += len(table)
    # In one piece: how the data is cut into shards changes no byte.
    pq.write_table(pa.concat_tables(kept).combine_chunks().replace_schema_metadata(), file, compression="zstd")


def _record(counts: pd.DataFrame, official: set[str], leaks: dict, config: PrepareConfig, folder: Path) -> None:
    """`counts`: samples of each class (rows) in each split (columns)."""
    content = {
        name: {
            "origin": "official" if name in official else "drawn",
            "samples": int(counts[name].sum()),
            "classes": {label: int(n) for label, n in counts[name].items() if n},
            **({"with_a_twin_in": leaks[name]} if name in leaks else {}),
        }
        for name in SPLITS
    }
    files.write_json(folder / "split.json", {"split_seed": config.split_seed, "splits": content})


def _tell(counts: pd.DataFrame, official: set[str], leaks: dict, layout: arrays.Layout, config: PrepareConfig) -> None:
    sizes = ", ".join(f"{counts[name].sum():,} {name}" for name in SPLITS)
    print(f"prepare: {sizes}; arrays of {'x'.join(map(str, layout.shape))}")
    twins = " and ".join(
        f"{screen.number(leaks[name]['train'], 'sample')} of {name}{' (official)' if name in official else ''}"
        for name in ("test", "validation")
    )
    print(f"prepare: {twins} have a twin in training")
    test = counts["test"]
    if test.min() < FEW:
        print(f"prepare: class {test.idxmin()!r} has {screen.number(test.min(), 'test sample')}: a single one moves its recall by "
              f"{1 / test.min():.0%}; bring more, or raise prepare.test_fraction")  # fmt: skip


def _tell_of_detail(manifest: Path, usable: np.ndarray, config: PrepareConfig) -> None:
    width, height = (int(manifests.column(manifest, name)[usable].median()) for name in ("width", "height"))
    if max(width / config.width, height / config.height) >= 8:
        print(f"prepare: pictures of {width}x{height} px (median) become {config.width}x{config.height}: "
              "detail may be lost; see prepare.height and prepare.width")  # fmt: skip
