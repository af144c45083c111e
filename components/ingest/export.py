"""data/ -> the tree of pictures that it came from."""

from pathlib import Path
from typing import Annotated

from components.shared import destination, files, screen
from components.shared.data import dataset
from components.shared.progress_bar import progress_bar


def export(
    data: Annotated[Path, "the folder of shards"],
    folder: Annotated[Path, "where the tree goes; must not exist yet, or be empty"],
) -> None:
    """Write every frame back under its original path, byte for byte. Raises CannotRun when something is in the way."""
    destination.check_folder(folder, kind="", inputs=[data])
    shards = dataset.shards(data)
    total = sum(dataset.count(shard) for shard in shards)
    with files.whole_folder(folder, kind="") as fresh, progress_bar(total=total, name="export") as bar:
        for shard in shards:
            for sample in dataset.read_samples(shard):
                dataset.write_tree(sample, fresh)
                bar.update()
    print(f"{folder}: {screen.number(total, 'sample')}")
