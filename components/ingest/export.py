"""data/ -> the tree of pictures that it came from."""

from pathlib import Path
from typing import Annotated

from tqdm import tqdm

from components.shared import dataset, files
from components.shared.errors import CannotRun, Refused


def export(
    data: Annotated[Path, "the folder of shards"],
    folder: Annotated[Path, "where the tree goes; must not exist yet, or be empty"],
) -> None:
    """Write every frame back under its original path, byte for byte. Raises CannotRun when something is in the way."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CannotRun(f"{folder}: is there already; name a new folder")
    shards = dataset.shards(data)
    total = sum(dataset.count(shard) for shard in shards)
    with files.whole_folder(folder) as fresh, tqdm(total=total, unit=" samples", desc="export", disable=None) as bar:
        for shard in shards:
            for sample in dataset.read_samples(shard):
                for content, path in sample.frames:
                    target = fresh / path
                    # Shards come from elsewhere too: a path in one must not lead out of the folder.
                    if not target.resolve().is_relative_to(fresh.resolve()):
                        raise Refused(f"E_PATH_OUTSIDE {shard}: {path!r} leaves the folder")
                    if target.exists():
                        raise CannotRun(f"{shard}: {path!r} stands in two samples; export one data set at a time")
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
                bar.update()
    print(f"{folder}: {total:,} samples")
