"""Where a training comes from: the commit and what differs from it, the machine, and the recipe that seeds share."""

import hashlib
import json
import os
from pathlib import Path

from components.shared import deadline, files
from components.shared.errors import CannotRun

CODE = Path(__file__).parents[2]  # all of components
GIT = 20.0  # seconds; a repository on a disk that hangs keeps no training
UNTRAINED = ("measure", "validate")  # sections that decide whether there is a training, but not which


def code_version() -> str:
    """The git commit of the code, with `+changes` when files differ from it; `unknown` outside a repository.

    In an image there is no repository: DARKROOM_COMMIT says it there.
    """
    if commit := os.environ.get("DARKROOM_COMMIT"):
        return commit
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "-uno", ".")
    if commit is None or changed is None:
        return "unknown"
    return commit.strip() + ("+changes" if changed else "")


def recipe(knobs: dict, data_digest: str) -> str:
    """What trainings have in common that differ in their seed alone: a digest of the other knobs, the data and the code."""
    decisive = {name: values for name, values in knobs.items() if name not in (*UNTRAINED, "seed")}
    content = [decisive, data_digest, files.digest_of(CODE, "**/*.py")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _git(*arguments: str) -> str | None:
    """What git says of the code's repository; None where there is none, or no git."""
    try:
        done = deadline.command(["git", "-C", str(CODE), *arguments], seconds=GIT)
    except CannotRun:
        return None
    return None if done.returncode else done.stdout
