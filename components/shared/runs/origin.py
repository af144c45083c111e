"""Where a training comes from: the commit and what differs from it, the machine, DVC's experiment, the recipe that seeds share."""

import hashlib
import json
import os
from pathlib import Path

from components.shared import deadline, files, parallel, yaml_reader
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.runs import provenance
from components.shared.runs.values import as_text

CODE = Path(__file__).parents[2]  # all of components
GIT = 20.0  # seconds; a repository on a disk that hangs keeps no training
EXPERIMENT = "DVC_EXP_NAME"  # of the environment, as DVC sets it for `dvc exp run`
UNTRAINED = ("measure", "validate")  # sections that decide whether there is a training, but not which
LONGEST, MOST = 2**17, 5  # letters of a diff that is kept; knobs in a run's name
# Without dvc.lock, which a run itself rewrites, and whatever a user's own settings of git make of a diff.
DIFF = ("-c", "diff.noprefix=false", "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--", ":/",
        ":(top,exclude)dvc.lock")  # fmt: skip


def tags() -> tuple[dict[str, str], str]:
    """Commit, machine and DVC's experiment as a run's tags; and the diff against the commit, without secrets, cut off if long."""
    commit = code_version()
    diff = None if commit == "unknown" else _git(*DIFF)  # a git that hangs is waited for once
    found = {
        "git_commit": commit,
        "git_dirty": "unknown" if diff is None else str(bool(diff)).lower(),
        "processor": provenance.processor(),
        "cores": str(parallel.granted()),
    }
    if name := os.environ.get(EXPERIMENT):
        found[EXPERIMENT] = name
    text = masked(diff or "")
    return found, text if len(text) <= LONGEST else f"{text[:LONGEST]}\n... cut off: {len(text):,} letters in all\n"


def code_version() -> str:
    """The git commit of the code, with `+changes` when files differ from it; `unknown` outside a repository.

    In an image there is no repository: DARKROOM_COMMIT says it there.
    """
    if commit := os.environ.get("DARKROOM_COMMIT"):
        return commit
    if (commit := _git("rev-parse", "HEAD")) is None or (changed := _git("status", "--porcelain", "-uno", ".")) is None:
        return "unknown"
    return commit.strip() + ("+changes" if changed else "")


def run_name(knobs: dict, architecture: str = "") -> str:
    """What a run is called: by the knobs that are not as committed, and by DVC's experiment. `cnn · epochs=2 · hardy-lynx`.

    `knobs` are those of params.yaml, or of the training of an `architecture`, whose section `train` is its own.
    """
    before, left_out = _committed() if knobs else {}, UNTRAINED if architecture else ()
    if architecture and isinstance(before.get("train"), dict):
        before = before | {"train": before["train"].get(architecture, {})}
    before = {name: values for name, values in before.items() if name in knobs and name not in left_out}
    changed = {
        name: value for name, (_, value) in differing(before, knobs).items() if value is not None
    }  # None: it has no such knob
    short = [f"{name.rpartition('.')[2] if architecture else name}={as_text(value)[:30]}" for name, value in changed.items()]
    more = [f"{len(short) - MOST} more"] if len(short) > MOST else []
    return " · ".join(filter(None, [architecture, ", ".join(short[:MOST] + more), os.environ.get(EXPERIMENT)]))[:250]


def differing(before: dict, after: dict, above: str = "") -> dict[str, tuple]:
    """Dotted name -> both values, of each knob in `before` that is another in `after`."""
    found = {}
    for name, value in before.items():
        if isinstance(value, dict) and isinstance(after.get(name), dict):
            found |= differing(value, after[name], f"{above}{name}.")
        elif value != after.get(name):
            found[f"{above}{name}"] = (value, after.get(name))
    return found


def recipe(knobs: dict, data_digest: str) -> str:
    """What trainings have in common that differ in their seed alone: a digest of the other knobs, the data and the code."""
    decisive = {name: values for name, values in knobs.items() if name not in (*UNTRAINED, "seed")}
    content = [decisive, data_digest, files.digest_of(CODE, "**/*.py")]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _committed() -> dict:
    """params.yaml as the commit has it, or as the image was built with; empty where there is none."""
    file = CODE.parent / "params.yaml"
    try:
        text = file.read_text(encoding="utf-8") if "DARKROOM_COMMIT" in os.environ else _git("show", "HEAD:./../params.yaml")
        found = yaml_reader.parse(text or "", where=str(file))
    except (OSError, CannotRun):
        found = None
    return found if isinstance(found, dict) else {}


def _git(*arguments: str) -> str | None:
    """What git says of the code's repository; None where there is none, or no git."""
    try:
        done = deadline.command(["git", "-C", str(CODE), *arguments], seconds=GIT)
    except CannotRun:
        return None
    return None if done.returncode else done.stdout
