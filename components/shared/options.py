"""Command lines: a function's signature as a parser, and each value checked by the parameter's annotation."""

import argparse
import difflib
import inspect
import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A mistake is one line on stderr and exit code 2; an option that is nearly right is named."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        known = list(self._option_string_actions)
        wrong = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            wrong, known = choice, re.findall(r"'(.*?)'", choice[2])
        similar = difflib.get_close_matches(wrong[1], known, n=1) if wrong else []
        hint = f"did you mean {similar[0]}? " if similar else ""
        self.exit(2, f"{self.prog}: {' '.join(message.split())[:500]}; {hint}`{self.prog} --help` shows what it takes\n")


def add(parser: argparse.ArgumentParser, parameter: inspect.Parameter, hint: Any) -> None:
    """Add one parameter: in front of `*` it is positional, behind it an option; `Annotated` gives its help and its bounds."""
    kind, text, *_ = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint, "")
    kind = Path if kind == Path | None else kind
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
        several = {"type": checked(typing.get_args(kind)[0]), "nargs": "+"} if typing.get_origin(kind) is list else {}
        parser.add_argument(parameter.name, **{"type": checked(hint), "help": text} | several)
        return
    flag = ("--" if len(parameter.name) > 1 else "-") + parameter.name.replace("_", "-")
    required = parameter.default is parameter.empty
    default = None if required else parameter.default
    if kind is bool:
        parser.add_argument(flag, action="store_true", help=text)
    elif typing.get_origin(kind) is typing.Literal:
        parser.add_argument(flag, choices=typing.get_args(kind), default=default, help=f"{text} (default: %(default)s)")
    elif typing.get_origin(kind) in (list, tuple):
        item = typing.get_args(kind)[0]
        metavar = "PATH" if item is Path else "TEXT"
        default = None if required else []
        parser.add_argument(flag, type=checked(item), nargs="+", required=required, default=default, metavar=metavar, help=text)
    else:
        text += "" if default in (None, "") else " (default: %(default)s)"
        metavar = {Path: "PATH", int: "N", float: "X"}.get(kind, "TEXT")
        parser.add_argument(flag, type=checked(hint), required=required, default=default, metavar=metavar, help=text)


def checked(hint: Any) -> Callable[[str], Any]:
    """A function from a text of the command line to the annotated kind, such as `Annotated[int, "help", Ge(1)]`.

    It raises ArgumentTypeError, which argparse puts into one line with the option's name.
    """
    kind = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    kind = Path if kind == Path | None else kind

    def convert(text: str) -> Any:
        if "\0" in text:
            raise argparse.ArgumentTypeError(f"expected text without NUL, got {text[:80]!r}")
        if kind is Path and not text.strip():
            raise argparse.ArgumentTypeError("expected a path, got an empty text")
        if kind in (Path, str):
            return kind(text)
        from components.shared import config

        try:
            return config.value(hint, text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
