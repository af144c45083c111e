"""The validated data -> uint8 arrays per split: decoded once, in parallel, upright, resized by one rule."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa

from components.prepare.config import PrepareConfig
from components.shared import destination, files, parallel
from components.shared.data import arrays, dataset
from components.shared.data import manifest as manifests
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.decode import LARGEST, decode
from components.shared.pictures.fit import fit

FEW = 20  # test samples of a class; with fewer, what is said of the class says little


def prepare(
    *,
    data: Annotated[Path, "the folder of shards"],
    manifest: Annotated[Path, "what measure wrote"],
    verdict: Annotated[Path, "summary.json of validate: nothing is prepared that did not pass"],
    config: PrepareConfig,
    seed: Annotated[int, "seed of the split"],
    prepared: Annotated[Path, "folder for the arrays"],
) -> None:
    """Split, decode and resize. Raises Refused when the data did not pass or cannot be split, CannotRun on stale inputs."""
    destination.check_folder(prepared, kind="prepared", inputs=[data, manifest, verdict])
    plan = make_plan(manifest=manifest, verdict=verdict, config=config, seed=seed)
    with files.whole_folder(prepared, kind="prepared") as fresh:
        create(fresh, plan)
        decode_shards(fresh, plan.rows, data=data, config=config)
    _say(plan, config)


@dataclass(frozen=True)
class Plan:
    """Where every usable sample goes: its row has the split (`to`) and its `position` there."""

    rows: pd.DataFrame
    layout: arrays.Layout


def make_plan(*, manifest: Path, verdict: Path, config: PrepareConfig, seed: int) -> Plan:
    """Decide everything that needs the whole, from the manifest alone. Raises Refused and CannotRun as `prepare` does."""
    from components.prepare.split import assign

    summary = files.read_json(verdict)
    if not summary["passed"]:
        raise Refused(f"{verdict}: the data did not pass; findings.json beside it says why")
    rows = manifests.read(manifest)
    if summary["data_digest"] != manifests.data_digest(manifest):
        raise CannotRun(f"{verdict}: is about other data than {manifest}; `dvc repro` brings them together")
    # A severity of less than error lets such samples pass validation; there is nothing of them to learn from.
    usable = rows["fault_code"].isna() & manifests.labels(rows).notna()
    if not usable.all():
        print(f"prepare: {(~usable).sum():,} samples without pixels or label are left out; findings.json names them")
    rows = rows[usable].reset_index(drop=True)
    rows["to"] = assign(
        rows, validation_fraction=config.validation_fraction, test_fraction=config.test_fraction, seed=seed
    )  # fmt: skip
    rows["position"] = rows.groupby("to").cumcount()
    time = min(int(rows["frames"].max()), config.max_frames)
    shape = (config.height, config.width, config.channels)
    shape = (time, *shape) if rows["frames"].max() > 1 else shape
    knobs = {**summary.get("knobs", {}), "prepare": config.model_dump()}
    return Plan(rows, arrays.Layout(sorted(rows["label"].unique()), shape, summary["data_digest"], knobs))


def create(prepared: Path, plan: Plan) -> None:
    """Write all but the pixels: room for them, labels, samples, layout."""
    for name in dataset.SPLITS:
        part = plan.rows[plan.rows["to"] == name]
        arrays.create(prepared / name, len(part), plan.layout.shape)
        labels = np.searchsorted(plan.layout.classes, part["label"].to_numpy(dtype=str))
        samples = part.assign(picture=part["pixels_digest"].fillna(part["id"]))[arrays.SAMPLES.names]
        table = pa.Table.from_pandas(samples, schema=arrays.SAMPLES, preserve_index=False).replace_schema_metadata()
        arrays.describe(prepared / name, labels, table)
    plan.layout.write(prepared)


def decode_shards(prepared: Path, rows: pd.DataFrame, *, data: Path, config: PrepareConfig) -> None:
    """Fill in the pixels of these rows, shard by shard over all processors."""
    work, weights = [], []
    for shard, part in rows.groupby("shard", sort=True):
        places = {row.source: (row.to, row.position) for row in part.itertuples()}
        work.append((data / str(shard), places, config, prepared))
        weights.append(len(part))
    for _ in parallel.each(fill, work, weights=weights, name="prepare"):
        pass


def fill(shard: Path, places: dict[str, tuple[str, int]], config: PrepareConfig, prepared: Path) -> None:
    """Decode one shard and write each sample to its (split, position): the same arrays, whoever does which shard."""
    images = {
        name: np.load(prepared / name / "images.npy", mmap_mode="r+")
        for name in dataset.SPLITS
        if any(to == name for to, _ in places.values())
    }
    for sample in dataset.read_samples(shard):
        if sample.source not in places:
            continue
        name, position = places[sample.source]
        pixels = images[name]
        frames = [content for content, _ in sample.frames]
        if pixels.ndim == 4:
            pixels[position] = _resized(frames[0], config)
        else:
            # A clip that is too long is thinned evenly; a short one leaves its last places zero, which is padding.
            chosen = np.linspace(0, len(frames) - 1, min(len(frames), pixels.shape[1])).round().astype(int)
            for time, index in enumerate(chosen):
                # Zeros stand for "no frame": a frame that is black all over is lifted by one level in 255.
                frame = _resized(frames[index], config)
                pixels[position, time] = frame if frame.any() else 1
    for pixels in images.values():
        pixels.flush()


def _resized(frame: bytes, config: PrepareConfig) -> np.ndarray:
    # Which sizes are welcome was measure's to say.
    picture = decode(frame, at_least=max(config.height, config.width), max_pixels=LARGEST)
    return fit(picture.pixels, height=config.height, width=config.width, channels=config.channels, rule=config.resize)


def _say(plan: Plan, config: PrepareConfig) -> None:
    rows, shape = plan.rows, plan.layout.shape
    counts = ", ".join(f"{(rows['to'] == name).sum():,} {name}" for name in dataset.SPLITS)
    print(f"prepare: {counts}; arrays of {'x'.join(map(str, shape))}")
    test = rows.loc[rows["to"] == "test", "label"].value_counts()
    if test.min() < FEW:
        print(f"prepare: class {test.idxmin()!r} has {test.min()} test samples: a single one moves its recall by "
              f"{1 / test.min():.0%}; bring more, or raise prepare.test_fraction")  # fmt: skip
    width, height = int(rows["width"].median()), int(rows["height"].median())
    if max(width / config.width, height / config.height) >= 8:
        print(f"prepare: pictures of {width}x{height} px (median) become {config.width}x{config.height}: "
              "detail may be lost; see prepare.height and prepare.width")  # fmt: skip
