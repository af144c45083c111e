"""`python -m pipelines COMMAND`: compile the pipeline, run it here, submit it to Kubeflow."""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from pipelines.settings import FILE as SETTINGS

OVERVIEW = """Exit codes: 0 done; 1 a step failed; 2 could not run; 3 a fault of Darkroom's own. Where Kubeflow is and who asks comes from
the environment: KFP_HOST, KFP_NAMESPACE, and KFP_TOKEN, KFP_COOKIES or a service account's token (KF_PIPELINES_SA_TOKEN_PATH)."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code, as `--help` lists them. Without arguments, those of the command line."""
    from components.shared import failures

    if arguments is None:
        failures.open_standard_streams()
        arguments = sys.argv[1:]

    def work() -> int:
        options = _parser().parse_args(arguments)
        module, function = options.do.split(":")
        return getattr(importlib.import_module(module), function)(options)  # loaded now: `--help` needs none of it

    return failures.guarded(work, name=" ".join(["pipelines", *arguments[:1]]))


def _parser() -> argparse.ArgumentParser:
    from components.shared.options import Parser, checked

    path, text = checked(Path), checked(str)
    parser = Parser(
        prog="python -m pipelines",
        description="Darkroom's steps as a Kubeflow pipeline.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do: str, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    compiling = command("compile", "pipelines.graph:compile_pipeline", "write the pipeline as the YAML that Kubeflow takes")
    compiling.add_argument("--output", type=path, default=Path("outputs/pipeline.yaml"), help="default: %(default)s")
    running = command("run", "pipelines.local:run", "run it here, through KFP's local runner: no cluster")
    running.add_argument("--containers", action="store_true", help="in the image, through podman or docker, locked down")
    running.add_argument("--memory", type=text, default="4g", help="limit of each container (default: %(default)s)")
    running.add_argument("--data", type=text, default="data", help="folder of shards, or a DVC remote (default: %(default)s)")
    running.add_argument(
        "--digest", default="", help="which data (default: what is in the folder; of a remote, what data.dvc records)"
    )
    running.add_argument(
        "--root", type=path, default=Path("outputs/kubeflow"), help="where artifacts go (default: %(default)s)"
    )
    running.add_argument("--no-cache", action="store_true", help="run every step, also what was run before")
    checking = command(
        "check", "pipelines.preflight:check", "look whether a run would start on Kubeflow, and say what stands in its way"
    )
    submitting = command("submit", "pipelines.submit:submit", "start a run on Kubeflow, as a version named after the commit")
    submitting.add_argument("--wait", action="store_true", help="follow the run; the exit code says how it ended")
    submitting.add_argument("--digest", type=text, default="", help="which data (default: what data.dvc records)")
    scheduling = command("schedule", "pipelines.schedules:schedule", "run on Kubeflow again and again")
    scheduling.add_argument(
        "--cron", type=text, required=True, help="when, in UTC: minute hour day month weekday, such as '0 2 * * *'"
    )
    which = scheduling.add_mutually_exclusive_group()
    which.add_argument("--digest", type=text, default="", help="always this data (default: the newest, as `publish` makes it)")
    which.add_argument(
        "--follow",
        type=text,
        default="",
        metavar="ADDRESS",
        help="the newest is what this data.dvc says, such as a branch's, raw",
    )
    command("publish", "pipelines.publish:publish", "push the data that data.dvc records, as the newest: schedules take it")
    listing = command("list", "pipelines.status:show", "list the latest runs and all schedules on Kubeflow")
    listing.add_argument("--count", type=checked(Annotated[int, Ge(1)]), default=20, help="runs at most (default: %(default)s)")
    looking = command("status", "pipelines.status:status", "show a run's steps; exit code 1 when it failed")
    reading = command("logs", "pipelines.status:logs", "print a step's log")
    retrying = command("retry", "pipelines.status:retry", "go on with a failed run from the failed step, as it was")
    stopping = command("stop", "pipelines.schedules:stop", "stop a run, or delete a schedule")
    for added in (looking, reading, retrying, stopping):
        added.add_argument("id", type=text, help="as `list` prints it")
    reading.add_argument("step", type=text, nargs="*", help="such as train cnn (default: the one that failed, or the latest)")
    retrying.add_argument("--wait", action="store_true", help="follow the run; the exit code says how it ended")
    for added in (scheduling, stopping):
        added.add_argument(
            "--now", action="store_true", help="end the run that the schedule has going, instead of waiting for it"
        )
    for added in (submitting, scheduling):
        added.add_argument(
            "--data", type=text, default="", help="DVC remote that holds the data (default: DVC's default remote)"
        )
        added.add_argument("--unchecked", action="store_true", help="do not look first whether the remote holds the data")
        added.add_argument("--name", type=text, default="", help="shown in the UI (default: darkroom and the commit)")
        added.add_argument("--experiment", type=text, default="darkroom", help="groups runs in the UI (default: %(default)s)")
    for added in (compiling, running, submitting, scheduling):
        added.add_argument(
            "--params", type=path, default=Path("params.yaml"), help="where the knobs stand (default: %(default)s)"
        )
        added.add_argument(
            "--set", type=text, action="append", default=[], metavar="KNOB=VALUE", help="such as train.cnn.epochs=3; repeatable"
        )
    for added in (compiling, checking, submitting, scheduling):
        added.add_argument("--settings", type=path, default=SETTINGS, help="resources, retries, secrets (default: %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
