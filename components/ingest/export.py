"""data/ -> the tree of pictures that it came from."""

from pathlib import Path
from typing import Annotated

from tqdm import tqdm

from components.shared import files
from components.shared.data import dataset
from components.shared.errors import CannotRun


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
                dataset.write_tree(sample, fresh)
                bar.update()
    print(f"{folder}: {total:,} samples")
