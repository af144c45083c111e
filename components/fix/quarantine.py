"""The files of dropped samples: nothing that is dropped is lost, and nothing that lies there already is overwritten."""

import errno
import hashlib
from pathlib import Path

from components.shared import files
from components.shared.data.dataset import Sample
from components.shared.errors import Refused


def keep(sample: Sample, folder: Path) -> Path:
    """Write a sample's frames under their original paths; returns where the first one is.

    A file with the same bytes stays, as after a kill; beside one with other bytes it gets a name with its digest. Raises Refused
    for a path that leads out of the folder.
    """
    kept = [_keep(content, path, folder) for content, path in sample.frames]
    return kept[0]


def _keep(content: bytes, path: str, folder: Path) -> Path:
    wanted = folder / path
    digest = hashlib.sha256(content).hexdigest()[:16]
    # The last for a path that is a file here and a folder there, or too long for this disk.
    for target in (
        wanted,
        wanted.with_name(f"{wanted.stem}~{digest}{wanted.suffix}"),
        folder / f"{digest}{wanted.suffix[:10]}",
    ):
        # Shards come from elsewhere too: a path in one must not lead out of the folder.
        if not target.resolve().is_relative_to(folder.resolve()):
            raise Refused(f"E_PATH_OUTSIDE {path!r}: leaves {folder}; rename it at the source and ingest again")
        try:
            if target.is_file() and target.read_bytes() == content:
                return target
            blocked = any(above.exists() and not above.is_dir() for above in target.parents)
            if not blocked and not target.exists() and not target.is_symlink():
                with files.whole_file(target) as temporary:
                    temporary.write_bytes(content)
                return target
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
    raise Refused(f"{folder}: holds other files under every name for {path!r}; name an empty folder with --quarantine")
