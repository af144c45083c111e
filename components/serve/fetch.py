"""Bring a model's package into a folder: what runs before a server starts, where the server itself reaches no registry."""

import shutil
from pathlib import Path
from typing import Annotated

from components.shared import files


def fetch(
    model: Annotated[str, "a folder, models:/NAME@alias, models:/NAME/3, runs:/ID, or the address of a package"],
    folder: Annotated[Path, "where the package goes: a new folder, or that of another package"],
    *,
    sha256: Annotated[str, "of the package that is expected; another one is refused"] = "",
) -> None:
    """Write the package whole or not at all, and of it only the files that it names. Raises CannotRun."""
    from components.shared.models.package import FILE
    from components.shared.runs.packages import fetched

    with fetched(model, digest=sha256) as package, files.whole_folder(folder, kind="package") as temporary:
        for name in (FILE, *package.files):
            shutil.copyfile(package.folder / name, temporary / name)
    print(f"{folder}: package {package.name}, sha256 {package.digest}")
