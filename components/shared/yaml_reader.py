"""YAML as DVC reads it (ruamel.yaml, YAML 1.2): what DVC takes a stage's parameters to be is what the stage gets.

PyYAML reads YAML 1.1: `off` is false there and `010` is 8.
"""

import warnings
from pathlib import Path
from typing import Any

from components.shared.errors import CannotRun

LARGEST = 2**20  # characters of a file; params.yaml has some 10,000
MOST_NODES = 100_000  # with every alias written out: a few lines of aliases of aliases fill the memory otherwise


def read(file: Path, *, missing: str) -> Any:
    """What a YAML file holds. Raises CannotRun with the file and the line; `missing` says what to do when there is none."""
    try:
        with file.open(encoding="utf-8") as stream:
            text = stream.read(LARGEST + 1)
    except FileNotFoundError:
        raise CannotRun(f"{file}: no such file; {missing}") from None
    except UnicodeDecodeError:
        raise CannotRun(f"{file}: not valid YAML (it is no UTF-8 text)") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CannotRun(f"{str(file)!r}: cannot be read ({error}); expected a YAML file") from None
    if len(text) > LARGEST:
        raise CannotRun(f"{file}: more than {LARGEST // 2**20} MiB; expected a YAML file of settings")
    return parse(text, where=str(file))


def parse(text: str, *, where: str) -> Any:
    """What a YAML text holds. A key that stands twice is refused. Raises CannotRun, which begins with `where`."""
    from ruamel.yaml import YAML

    try:
        with warnings.catch_warnings(action="ignore"):  # an anchor that is used again
            if "&" in text and "*" in text and _size(YAML(typ="safe").compose(text), {}) > MOST_NODES:
                raise CannotRun(f"{where}: more than {MOST_NODES:,} values once its aliases are written out")
            return YAML(typ="safe").load(text)
    except CannotRun:
        raise
    except RecursionError:
        raise CannotRun(f"{where}: not valid YAML (nested too deeply)") from None
    # The parser raises what it likes: ValueError for the date 2020-99-99, KeyError for `!!bool maybe`.
    except Exception as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error or type(error).__name__).split())[:200]
        raise CannotRun(f"{where}{line}: not valid YAML ({reason})") from None


def _size(node: Any, sizes: dict[int, int]) -> int:
    """How many values a node holds with every alias written out; one that is inside itself counts once there."""
    if id(node) not in sizes:
        sizes[id(node)] = 1
        children = node.value if isinstance(node.value, list) else []  # of a mapping, pairs
        parts = (part for child in children for part in (child if isinstance(child, tuple) else [child]))
        sizes[id(node)] += sum(_size(part, sizes) for part in parts)
    return sizes[id(node)]
