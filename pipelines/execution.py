"""Run a step from a wrapper's body: plain paths, inputs checked, outputs sealed, the reason of a failure left for the exit handler.

A seal is the sha256 of an artifact's files, in its metadata. It detects artifacts that were changed or truncated between two
steps, and ties a cache entry to its content.
"""

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kfp.dsl import Artifact

SEAL = "sha256"
# Kubernetes shows what a container left here as the reason of its end; a local run names a file of its own.
REASON_FILE, KUBERNETES = "DARKROOM_REASONS", "/dev/termination-log"


def call(name: str, *, section: str = "", **values: Any) -> None:
    """Run a step. An artifact, or a list of them, stands for its path. A step that fails ends the process with its exit code."""
    from components.__main__ import call as run

    artifacts = [item for value in values.values() for item in (value if isinstance(value, list) else [value])]
    artifacts = [item for item in artifacts if isinstance(item, Artifact)]
    given = [artifact for artifact in artifacts if SEAL in artifact.metadata]
    with ending(section or name):
        for artifact in given:
            check(artifact)
        run(name, section=section, **{key: _plain(value) for key, value in values.items()})
    for artifact in artifacts:
        artifact.metadata[SEAL] = artifact.metadata.get(SEAL) or seal(Path(artifact.path))


@contextlib.contextmanager
def ending(step: str) -> Iterator[None]:
    """End the process with its exit code when the block fails, and leave the reason; the traceback of a fault goes to the log."""
    from components.shared import failures

    try:
        yield
    except Exception as error:
        failure = failures.explain(error)
        leave(step, failure.reason)
        if failure.code == failures.FAULT:
            print(failures.details(error), file=sys.stderr)  # a container's files are gone with it
        print(failure.reason, file=sys.stderr)
        sys.exit(failure.code)


def check(artifact: Artifact) -> None:
    """Raises CannotRun when an artifact is not what its maker sealed."""
    from components.shared.errors import CannotRun

    if seal(Path(artifact.path)) != artifact.metadata[SEAL]:
        raise CannotRun(f"{artifact.uri}: changed since it was made; run again, its step is done anew")


def seal(path: Path) -> str:
    """sha256 over the names and contents of a folder's files, or of one file."""
    whole = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            with file.open("rb") as stream:
                whole.update(f"{file.relative_to(path)} {hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def leave(step: str, reason: str) -> None:
    """Append the reason to the file that the exit handler reads."""
    file = Path(os.environ.get(REASON_FILE, KUBERNETES))
    first, *others = reason.splitlines() or [""]
    more = f" (and {len(others)} more, in the step's log)" if others else ""
    if file.exists():
        with file.open("a", encoding="utf-8") as stream:
            stream.write(f"{step}: {first[:1000]}{more}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.path if isinstance(value, Artifact) else value
