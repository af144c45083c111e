"""A project folder that was moved or copied keeps its own runs: the addresses in its store follow it.

MLflow writes absolute addresses into its database: of the experiment, of each run, model and version. So a copy would read
from the original, and write its next version there. A scheme of our own that resolves beside the database would do without
this, but for every program that reads the store without Darkroom (`mlflow ui` of another environment, a notebook), and stores
made before it hold absolute addresses as well.
"""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlparse

TABLES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "logged_models": ("artifact_location",),
    "model_versions": ("source", "storage_location"),
}
SUFFIX = "/mlflow/artifacts"


def bring_home(store: Path, artifacts: Path) -> None:
    """Make all addresses in our own sqlite store, which lie in one folder of artifacts elsewhere, lie in `artifacts`.

    One transaction; nothing is done when the store is new or at home. A folder that is the same by another way (a link, a
    mount) is home, too. Addresses that point to anything else (an own experiment on S3) stay.
    """
    if not store.is_file() or not store.stat().st_size:
        return
    home = artifacts.as_uri()
    with contextlib.closing(sqlite3.connect(store, timeout=20, isolation_level=None)) as database:
        present = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if "experiments" not in present:
            return
        places = _elsewhere(database, artifacts)
        if not places:
            return
        database.execute("BEGIN IMMEDIATE")
        for place in places:
            for table, columns in TABLES.items():
                for column in columns if table in present else ():
                    # By place, not by REPLACE: what follows the folder's name stays as it is, and no name is a pattern.
                    moved = f"{column} = ? || substr({column}, ?) WHERE {column} = ? OR substr({column}, 1, ?) = ?"
                    values = (home, len(place) + 1, place, len(place) + 1, f"{place}/")
                    database.execute(f"UPDATE {table} SET {moved}", values)  # noqa: S608 - both names stand above
        database.execute("COMMIT")


def _elsewhere(database: sqlite3.Connection, artifacts: Path) -> set[str]:
    """The folders of artifacts that experiments of this store name, without the present one by whatever way."""
    found = {location.rstrip("/") for (location,) in database.execute("SELECT artifact_location FROM experiments") if location}
    files = {
        place: Path(unquote(urlparse(place).path)) for place in found if place.startswith("file:") and place.endswith(SUFFIX)
    }
    return {place for place, file in files.items() if place != artifacts.as_uri()
            and not (file.exists() and artifacts.exists() and file.samefile(artifacts))}  # fmt: skip
