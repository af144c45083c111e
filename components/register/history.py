"""Who was champion when, why, and from which data and code: read from the registry alone."""

import json as to_json
import textwrap
from typing import Annotated

WIDTH = 100
ROW = "{:17}{:9}{:14}{:9}{:13}{:13}{}"


def history(
    *,
    name: Annotated[str, "the registered model"] = "darkroom",
    json: Annotated[bool, "a list of JSON instead, with all that is known"] = False,
) -> None:
    """List each move of the champion, newest first, with its reason. Raises CannotRun."""
    from components.shared.runs import tracking
    from components.shared.runs.registry import Registry

    moves = Registry(tracking.connect(), name, make=False).log()
    if json:
        print(to_json.dumps([move._asdict() for move in moves], indent=2, ensure_ascii=False))
        return
    if not moves:
        print(f"{name}: no version was champion yet")
        return
    print(ROW.format("when (UTC)", "champion", "architecture", "before", "how", "data", "code"))
    for move in moves:
        row = (move.when[:16].replace("T", " ") or "?", move.version or "none", move.architecture or "?", move.before or "none",
               move.action, move.data_digest[:11] or "?", _short(move.git_commit) or "?")  # fmt: skip
        print(ROW.format(*map(_plain, row)).rstrip())
        print(textwrap.fill(_plain(move.reason), WIDTH, initial_indent="    ", subsequent_indent="    "))


def _short(commit: str) -> str:
    digest, changed, _ = commit.partition("+")
    return digest[:12] + changed  # + for a tree with changes


def _plain(text: str) -> str:
    """Without what a terminal would obey: anyone who reaches the server writes tags."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))
