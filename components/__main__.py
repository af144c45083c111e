"""`darkroom STEP ...`: one dispatcher for all steps. A step's options are the parameters of its function.

Nothing heavy is imported before a step is named, so that `darkroom --help` answers at once.
"""

import argparse
import atexit
import gc
import importlib
import inspect
import os
import sys
import typing
from pathlib import Path

from components import IN_GRAPHS, STEPS, TOOLS
from components.shared import failures
from components.shared.errors import did_you_mean

DONE = 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code, as `darkroom --help` lists them. Without arguments, those of the command line."""
    typed = arguments is None
    if typed:
        atexit.register(gc.freeze)  # to look through thousands of modules for garbage would take a tenth of a second
        failures.open_standard_streams()
    arguments = sys.argv[1:] if typed else arguments
    overview = _overview()
    if not arguments or arguments[0].startswith("-"):
        return failures.guarded(lambda: overview.parse_args(arguments or ["--help"]) and DONE, name="darkroom")
    name, *rest = arguments
    commands = STEPS | TOOLS
    if name not in commands:
        overview.error(f"no command {name[:80]!r}; {did_you_mean(name, commands)}there are: {', '.join(commands)}")
    advice = commands[name].supervised
    if not typed or not advice:
        return failures.guarded(lambda: _run(name, rest), name=name)
    from components.shared.supervise import supervise

    def run() -> int:
        return failures.guarded(lambda: _run(name, rest), name=name, advice=advice)

    return failures.guarded(lambda: supervise(run, name=name, advice=advice), name=name)


def _run(name: str, rest: list[str]) -> None:
    # Config and files are loaded here, not above: `--help` needs neither.
    command = (STEPS | TOOLS)[name]
    if command.workers:
        from components.shared import parallel

        parallel.get_ready(command.module)
    step = getattr(importlib.import_module(command.module), name)
    from components.shared import config

    grouped = os.environ.get(config.PIPELINE_RUN)
    try:
        step(**_arguments(step, name, rest))
    finally:
        if grouped is None:
            os.environ.pop(config.PIPELINE_RUN, None)


def call(name: str, *, section: str = "", **values: object) -> None:
    """Run a step with plain values, as a pipeline's wrapper has them: paths as text, the configuration as a dict.

    `section` is where the configuration stands in params.yaml, for the messages. Raises what the step raises.
    """
    from components.shared import config

    step = getattr(importlib.import_module(IN_GRAPHS[name].module), name)
    for parameter, hint in typing.get_type_hints(step).items():
        if parameter not in values:  # it has a default, or the step itself says that it is missing
            continue
        if hint is Path or (hint == Path | None and values[parameter]):
            values[parameter] = Path(values[parameter])
        elif hint == list[Path]:
            values[parameter] = [Path(value) for value in values[parameter]]
        elif parameter == "config":
            values[parameter] = config.parse(hint, values[parameter], path=section)
        elif parameter == "seed":
            values[parameter] = config.checked_seed(values[parameter])
    step(**values)


def parts(name: str, *, section: str, data: str, digest: str, config: dict):
    """What a step computes of each shard alone (`shared.data.parts.Parts`); None without a store to keep it in."""
    from components.shared import config as configs
    from components.shared.data.remote import Shards

    module = importlib.import_module(IN_GRAPHS[name].module)
    model = typing.get_type_hints(getattr(module, name))["config"]
    return module.parts(Shards(data, digest), configs.parse(model, config, path=section))


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
        checks.append(lambda p=path, m=model: config.parse(m, config.section_of(params, p, file=file), path=p).check())
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
              "Exit codes: 0 done; 1 the data or the model did not pass; 2 could not run; 3 a fault of Darkroom's own."]  # fmt: skip
    from importlib import metadata

    from components.shared import options

    parser = options.Parser(
        prog="darkroom",
        usage="darkroom STEP [options]",
        description="Labelled pictures in, a recogniser that can be trusted out.",
        epilog="\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"darkroom {metadata.version('darkroom')}")
    return parser


def _arguments(step: typing.Callable, name: str, given: list[str]) -> dict:
    """Parse the command line by the step's signature. The configuration and the seed come out of params.yaml."""
    from components.shared import options

    parser = options.Parser(
        prog=f"darkroom {name}", description=options.description(step),
        epilog="\n\n".join([options.example(name, (STEPS | TOOLS)[name].example), *filter(None, [getattr(step, "epilog", None)])]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    hints = typing.get_type_hints(step, include_extras=True)
    configured = hints.get("config")
    for parameter in inspect.signature(step).parameters.values():
        if parameter.name == "config":
            parser.add_argument("--config", required=True, metavar="SECTION", help="section of params.yaml, such as train.cnn")
            file = options.checked(Path)
            parser.add_argument(
                "--params", type=file, default=Path("params.yaml"), metavar="FILE", help="where the knobs stand"
            )
        elif parameter.name != "seed":
            options.add(parser, parameter, hints[parameter.name])
    values = vars(parser.parse_args(given))
    if configured:
        from components.shared import config

        file, section = values.pop("params"), values["config"]
        params = config.read_params(file)
        values["config"] = config.parse(configured, config.section_of(params, section, file=file), path=section)
        if "seed" in hints:
            values["seed"] = config.seed_of(params, file=file)
        os.environ.setdefault(config.PIPELINE_RUN, config.as_text(params))
    return values


if __name__ == "__main__":
    sys.exit(main())
