"""Measuring spread over machines: each measures some shards, then the parts are put together."""

import shutil
from pathlib import Path

from components.measure.config import MeasureConfig
from components.measure.step import measure
from components.shared import files
from components.shared.data import manifest as manifests
from components.shared.errors import CannotRun


def measure_part(*, data: Path, config: MeasureConfig, manifest: Path) -> None:
    """Measure the shards that are in `data`, which may be none when there are more machines than shards."""
    if any(data.glob("*.parquet")):
        measure(data=data, config=config, manifest=manifest)
    else:
        manifest.mkdir(parents=True, exist_ok=True)


def gather_manifest(*, parts: list[Path], digest: str, manifest: Path) -> None:
    """Put the parts together, byte for byte what one machine writes. Raises CannotRun unless they are all of that data."""
    with files.whole_folder(manifest, kind="manifest", ours=manifests.is_part) as fresh:
        for part in (file for folder in parts for file in folder.glob("*.parquet")):
            shutil.copyfile(part, fresh / part.name)
        there = manifests.data_digest(fresh)
        if there != digest:
            raise CannotRun(f"the data is {there}, expected {digest}; `dvc status data.dvc` says what was changed")
