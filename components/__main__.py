"""`darkroom STEP ...`: one dispatcher for all steps. A step's options are the parameters of its function.

Nothing heavy is imported before a step is named, so that `darkroom --help` answers at once.
"""

import argparse
import atexit
import gc
import importlib
import inspect
import os
import select
import signal
import sys
import typing
from pathlib import Path

from components import FAN_OUT, STEPS, TOOLS
from components.shared.errors import Stop

DONE, REFUSED, CANNOT_RUN = 0, 1, 2
# Runs in MLflow that belong together have this in common: by default what params.yaml holds.
PIPELINE_RUN = "DARKROOM_PIPELINE_RUN"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 refused, 2 could not run. Without arguments, those of the command line."""
    typed = arguments is None
    if typed:
        atexit.register(gc.freeze)  # to look through thousands of modules for garbage would take a tenth of a second
    arguments = sys.argv[1:] if typed else arguments
    overview = _overview()
    if not arguments or arguments[0].startswith("-"):
        overview.parse_args(arguments or ["--help"])
        return DONE
    name, *rest = arguments
    commands = STEPS | TOOLS
    if name not in commands:
        overview.error(f"no command {name!r}; there are: {', '.join(commands)}")
    if typed and commands[name].supervised:
        from components.shared.supervise import supervise

        return supervise(lambda: _run(name, rest), name=name, advice=commands[name].supervised, code=CANNOT_RUN)
    return _run(name, rest)


def _run(name: str, rest: list[str]) -> int:
    grouped = PIPELINE_RUN in os.environ
    try:
        # Config and files are loaded here, not above: `--help` needs neither.
        command = (STEPS | TOOLS)[name]
        if command.workers:
            from components.shared import parallel

            parallel.get_ready(command.module)
        step = getattr(importlib.import_module(command.module), name)
        step(**_arguments(step, name, rest))
        sys.stdout.flush()  # here, where a reader that has gone is no surprise
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print(f"{name}: interrupted; nothing half-written is left, the same command goes on", file=sys.stderr)
        return 128 + signal.SIGINT
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + signal.SIGPIPE
        where = f"{error.filename}: " if error.filename else ""
        print(f"{name}: {where}{error.strerror or error}", file=sys.stderr)
        return CANNOT_RUN
    finally:
        if not grouped:
            os.environ.pop(PIPELINE_RUN, None)
    return DONE


def _nobody_reads() -> bool:
    """Whether what is printed goes nowhere any more, as in `darkroom checks | head`; from then on it may."""
    output = select.poll()
    output.register(sys.stdout, 0)
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes in the end
    return True


def call(name: str, *, section: str = "", **values: object) -> None:
    """Run a step with plain values, as a pipeline's wrapper has them: paths as text, the configuration as a dict.

    `section` is where the configuration stands in params.yaml, for the messages. Raises what the step raises.
    """
    from components.shared import config

    step = getattr(importlib.import_module((STEPS | FAN_OUT)[name].module), name)
    for parameter, hint in typing.get_type_hints(step).items():
        if hint is Path:
            values[parameter] = Path(values[parameter])
        elif hint == list[Path]:
            values[parameter] = [Path(value) for value in values[parameter]]
        elif parameter == "config":
            values[parameter] = config.parse(hint, values[parameter], path=section)
        elif parameter == "seed":
            values[parameter] = config.checked_seed(values[parameter])
    step(**values)


def knobs(params: typing.Annotated[Path, "params.yaml"]) -> None:
    """Check every key of params.yaml: all faults together, before a step has run. Raises CannotRun."""
    from components.shared import config

    check(config.read_params(params), file=params)


def check(params: dict, *, file: Path) -> None:
    """Refuse a whole params.yaml with all its faults together, before anything runs. Raises CannotRun."""
    from components.shared import config
    from components.shared.errors import CannotRun

    models = {}
    for name, command in STEPS.items():
        if model := typing.get_type_hints(getattr(importlib.import_module(command.module), name)).get("config"):
            models |= dict.fromkeys(command.sections or (name,), model)
    checks = [lambda: config.seed_of(params, file=file), lambda: config.only(params, {"seed", *models}, file=file)]
    for path, model in models.items():
        checks.append(lambda p=path, m=model: config.parse(m, config.section_of(params, p, file=file), path=p))
    faults = []
    for one in checks:
        try:
            one()
        except CannotRun as error:
            faults += error.faults
    if faults:
        raise CannotRun(*faults)


def _overview() -> argparse.ArgumentParser:
    width = max(map(len, STEPS | TOOLS)) + 2
    lines = ["steps, in their order (`dvc repro` runs all but the first):"]
    lines += [f"  {name:{width}}{command.help}" for name, command in STEPS.items()]
    lines += ["", "beside them:"]
    lines += [f"  {name:{width}}{command.help}" for name, command in TOOLS.items()]
    lines += ["", "`darkroom STEP --help` shows a step's options. Knobs stand in params.yaml.",
              "Exit codes: 0 done; 1 the data or the model did not pass; 2 could not run."]  # fmt: skip
    parser = argparse.ArgumentParser(
        prog="darkroom",
        usage="darkroom STEP [options]",
        description="Labelled pictures in, a recogniser that can be trusted out.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"darkroom {version('darkroom')}")
        parser.exit()


def _arguments(step: typing.Callable, name: str, given: list[str]) -> dict:
    """Parse the command line by the step's signature: parameters in front of `*` are positional, the others options."""
    parser = argparse.ArgumentParser(prog=f"darkroom {name}", description=inspect.getdoc(step))
    hints = typing.get_type_hints(step, include_extras=True)
    configured = None
    for parameter in inspect.signature(step).parameters.values():
        kind, text = _kind_and_help(hints[parameter.name])
        if parameter.name == "seed":  # stands in params.yaml, beside the sections
            continue
        if parameter.name == "config":
            configured = kind
            parser.add_argument("--config", required=True, metavar="SECTION", help="section of params.yaml, such as train.cnn")
            parser.add_argument(
                "--params", type=Path, default=Path("params.yaml"), metavar="FILE", help="where the knobs stand"
            )
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            parser.add_argument(parameter.name, type=kind, help=text)
        else:
            _add_option(parser, parameter, kind, text)
    values = vars(parser.parse_args(given))
    if configured:
        from components.shared import config

        file, section = values.pop("params"), values["config"]
        params = config.read_params(file)
        values["config"] = config.parse(configured, config.section_of(params, section, file=file), path=section)
        if "seed" in hints:
            values["seed"] = config.seed_of(params, file=file)
        os.environ.setdefault(PIPELINE_RUN, config.digest_of(params))
    return values


def _kind_and_help(hint: typing.Any) -> tuple[typing.Any, str]:
    if typing.get_origin(hint) is typing.Annotated:
        kind, text = typing.get_args(hint)
        return kind, text
    return hint, ""


def _add_option(parser: argparse.ArgumentParser, parameter: inspect.Parameter, kind: typing.Any, text: str) -> None:
    flag = "--" + parameter.name.replace("_", "-")
    required = parameter.default is parameter.empty
    if kind is bool:
        parser.add_argument(flag, action="store_true", help=text)
    elif typing.get_origin(kind) is typing.Literal:
        parser.add_argument(
            flag, choices=typing.get_args(kind), default=parameter.default, help=f"{text} (default: %(default)s)"
        )
    elif typing.get_origin(kind) in (list, tuple):
        item = typing.get_args(kind)[0]
        metavar = "PATH" if item is Path else "TEXT"
        default = None if required else []
        parser.add_argument(flag, type=item, nargs="+", required=required, default=default, metavar=metavar, help=text)
    else:
        text += "" if required or parameter.default == "" else " (default: %(default)s)"
        metavar = {Path: "PATH", int: "N"}.get(kind, "TEXT")
        default = None if required else parameter.default
        parser.add_argument(flag, type=kind, required=required, default=default, metavar=metavar, help=text)


if __name__ == "__main__":
    sys.exit(main())
