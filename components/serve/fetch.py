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
    public_key: Annotated[Path | None, "of whoever must have signed it; what is not signed is refused"] = None,
    version: Annotated[str, "its number, for answers to name, where MODEL is an address (models:/ knows it)"] = "",
) -> None:
    """Write the package whole or not at all: the files that it names, and the version's number. Raises CannotRun."""
    from components.shared.models.package import FILE, VERSION
    from components.shared.runs import signing
    from components.shared.runs.packages import fetched

    with (
        fetched(model, digest=sha256, public_key=public_key) as package,
        files.whole_folder(folder, kind="package") as temporary,
    ):
        for name in (FILE, *package.files):
            shutil.copyfile(package.folder / name, temporary / name)
        if (package.folder / signing.FILE).is_file():
            shutil.copyfile(package.folder / signing.FILE, temporary / signing.FILE)
        if number := version or package.facts.get("version", ""):
            (temporary / VERSION).write_text(number, encoding="ascii")
    print(f"{folder}: package {package.name}, sha256 {package.digest}")
