"""Command lines: a function's signature as a parser, and each value checked by the parameter's annotation."""

import argparse
import inspect
import itertools
import re
import shutil
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from components.shared.errors import did_you_mean


class Parser(argparse.ArgumentParser):
    """A mistake is one line on stderr and exit code 2; an option that is nearly right is named."""

    def parse_known_args(self, args=None, namespace=None):
        """Name a mistyped option first: what it stands for would be said to be missing."""
        options = [text for text in itertools.takewhile("--".__ne__, args or ()) if re.match(r"--[^ ]+$", text)]
        if not self._subparsers and (
            wrong := [text for text in options if not self._get_option_tuples(text.partition("=")[0])]
        ):
            self.error(f"unrecognized arguments: {' '.join(wrong)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end."""
        known = list(self._option_string_actions)
        wrong = re.match(r"unrecognized arguments: (--[^\s=]+)", message)
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            wrong, known = choice, re.findall(r"'(.*?)'", choice[2])
        hint = did_you_mean(wrong[1], known) if wrong else ""
        self.exit(2, f"{self.prog}: {' '.join(message.split())[:500]}; {hint}`{self.prog} --help` shows what it takes\n")


def description(step: Callable) -> str:
    """What people read of a docstring: without what it raises, which is for callers; paragraphs as wide as the terminal."""
    text = re.sub(r"\s*\bRaises\b.*?(?:\.(?=\s|$)|$)", "", inspect.getdoc(step) or "", flags=re.DOTALL)
    return "\n\n".join(_wrapped(paragraph) for paragraph in text.split("\n\n"))


def example(name: str, arguments: str) -> str:
    """A command as people type it, at the end of its help."""
    together = re.sub(" (?!--)", "\xa0", f"darkroom {name} {arguments}".strip())  # an option and its values stay on one line
    return "example:\n" + _wrapped(together, "  ", " \\").replace("\xa0", " ")


def _wrapped(text: str, indent: str = "", end: str = "") -> str:
    width = max(40, min(110, shutil.get_terminal_size().columns - 2)) - len(end)
    whole = {"break_long_words": False, "break_on_hyphens": False, "initial_indent": indent, "subsequent_indent": indent * 3}
    return f"{end}\n".join(textwrap.wrap(text, width, **whole))


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
