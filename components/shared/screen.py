"""What people read in a terminal: nothing is cut, lines break where it ends, and a number agrees with its noun."""

import os
import shutil
import sys
import textwrap


def width() -> int:
    """Columns of the terminal, or what COLUMNS says; 0 in a pipe or file, where lines need no end."""
    return shutil.get_terminal_size((0, 0)).columns if "COLUMNS" in os.environ or sys.stdout.isatty() else 0


def wrapped(text: str, head: str = "", *, indent: int = 4) -> str:
    """`head` and the text; further lines begin at `indent`. No word is broken: paths can be copied."""
    if not width():
        return head + text
    return textwrap.fill(text, max(width(), 40), initial_indent=head, subsequent_indent=" " * indent,
                         break_long_words=False, break_on_hyphens=False)  # fmt: skip


def number(count: int, noun: str, plural: str = "") -> str:
    """`1 picture`, `1,349 pictures`; of a noun that takes no s, its plural is given."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
