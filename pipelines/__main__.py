"""`python -m pipelines COMMAND`: compile the pipeline, run it here, submit it to Kubeflow."""

import argparse
import importlib
import sys
from pathlib import Path
from typing import Annotated

from annotated_types import Ge

from components.shared import failures
from components.shared.options import Parser, checked
from pipelines.settings import FILE as SETTINGS

OVERVIEW = """Exit codes: 0 done; 1 a step failed; 2 could not run; 3 a fault of Darkroom's own. Where Kubeflow is and who asks comes from
the environment: KFP_HOST, KFP_NAMESPACE, and KFP_TOKEN, KFP_COOKIES or a service account's token (KF_PIPELINES_SA_TOKEN_PATH)."""
PATH, TEXT, FLAG = {"type": checked(Path)}, {"type": checked(str), "default": ""}, {"action": "store_true"}
OPTIONS = {
    "id": {"type": checked(str), "help": "as `list` prints it"},
    "step": {"type": checked(str), "nargs": "*", "help": "such as train cnn (default: the one that failed, or the latest)"},
    "--params": {**PATH, "default": Path("params.yaml"), "help": "where the knobs stand (default: %(default)s)"},
    "--set": {"type": checked(str), "action": "append", "default": [], "metavar": "KNOB=VALUE",
              "help": "such as train.cnn.epochs=3; repeatable"},
    "--settings": {**PATH, "default": SETTINGS, "help": "resources, retries, secrets (default: %(default)s)"},
    "--output": {**PATH, "default": Path("outputs/pipeline.yaml"), "help": "default: %(default)s"},
    "--containers": {**FLAG, "help": "in the image, through podman or docker, locked down"},
    "--memory": {**TEXT, "default": "4g", "help": "limit of each container (default: %(default)s)"},
    "--root": {**PATH, "default": Path("outputs/kubeflow"), "help": "where artifacts go (default: %(default)s)"},
    "--no-cache": {**FLAG, "help": "run every step, also what was run before"},
    "--verbose": {**FLAG, "help": "show what the steps say, too, which their logs keep"},
    "--data": {**TEXT, "help": "DVC remote that holds the data (default: DVC's default remote; for `run` the folder data)"},
    "--digest": {**TEXT, "help": "which data (default: what data.dvc records; of a folder what is in it; for `schedule` the newest)"},
    "--follow": {**TEXT, "metavar": "ADDRESS", "help": "the newest is what this data.dvc says, such as a branch's, raw"},
    "--when-drifted": {**TEXT, "metavar": "ADDRESS",
                       "help": "train only where the champion's answers below it (s3://…) of 30 days drift"},
    "--unchecked": {**FLAG, "help": "do not look first whether the remote holds the data"},
    "--name": {**TEXT, "help": "shown in the UI (default: darkroom and the commit)"},
    "--experiment": {**TEXT, "default": "darkroom", "help": "groups runs in the UI (default: %(default)s)"},
    "--wait": {**FLAG, "help": "follow the run; the exit code says how it ended"},
    "--cron": {**TEXT, "required": True, "help": "when, in UTC: minute hour day month weekday, such as '0 2 * * *'"},
    "--now": {**FLAG, "help": "end the run that the schedule has going, instead of waiting for it"},
    "--alias": {**TEXT, "default": "champion", "help": "which version (default: %(default)s)"},
    "serve --name": {**TEXT, "default": "darkroom", "help": "the registered model (default: %(default)s)"},
    "--model": {**TEXT, "default": "models:/darkroom@champion", "help": "a registered one (default: %(default)s)"},
    "predict --output": {**TEXT, "metavar": "ADDRESS", "help": "a folder or a .parquet where the answers are put, too (s3://…)"},
    "--compile": {**PATH, "metavar": "FILE", "help": "write the pipeline as YAML instead of starting a run"},
    "--kind": {"choices": ("deployment", "kserve"), "default": "deployment", "help": "what makes the pods (default: %(default)s)"},
    "--replicas": {"type": checked(Annotated[int, Ge(1)]), "help": "pods (default: as infra/kubernetes/serving has it)"},
    "--apply": {**FLAG, "help": "apply it with kubectl, and follow the rollout; the exit code says how it ended"},
    "--count": {"type": checked(Annotated[int, Ge(1)]), "default": 20, "help": "runs at most (default: %(default)s)"},
}  # fmt: skip
SENT = "--data --digest --unchecked --name --experiment --params --set --settings"
COMMANDS = {  # function, what it does, its options
    "compile": ("graph:compile_pipeline", "write the pipeline as the YAML that Kubeflow takes", "--output --params --set --settings"),
    "run": ("local:run", "run it here, through KFP's local runner: no cluster; a trial, unless --set register.enabled=true",
            "--containers --memory --data --digest --root --no-cache --verbose --params --set"),
    "check": ("preflight:check", "look whether a run would start on Kubeflow, and say what stands in its way", "--settings"),
    "submit": ("submit:submit", "start a run on Kubeflow, as a version named after the commit", f"--wait {SENT}"),
    "schedule": ("schedules:schedule", "run on Kubeflow again and again", f"--cron --follow --when-drifted --now {SENT}"),
    "publish": ("newest:publish", "push the data that data.dvc records, as the newest: schedules take it", ""),
    "serve": ("serving:serve", "print what serves a registered version on Kubernetes: its version, digest and image in it",
              "--alias --name --kind --replicas --apply"),
    "predict": ("predicting:predict", "answer every sample of a data set by a registered model, on Kubeflow",
                "--model --data --digest --output --compile --unchecked --name --experiment --settings --wait"),
    "list": ("status:show", "list the latest runs and all schedules on Kubeflow", "--count"),
    "status": ("status:status", "show a run's steps; exit code 1 when it failed", "id"),
    "logs": ("status:logs", "print a step's log", "id step"),
    "retry": ("status:retry", "go on with a failed run from the failed step, as it was", "id --wait"),
    "stop": ("schedules:stop", "stop a run, or delete a schedule", "id --now"),
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run one command; its exit code, as `--help` lists them. Without arguments, those of the command line."""
    if arguments is None:
        failures.open_standard_streams()
        arguments = sys.argv[1:]

    def work() -> int:
        options = _parser().parse_args(arguments)
        module, function = COMMANDS[options.command][0].split(":")
        return getattr(importlib.import_module(f"pipelines.{module}"), function)(
            options
        )  # loaded now: `--help` needs none of it

    return failures.guarded(work, name=" ".join(["pipelines", *arguments[:1]]))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m pipelines",
        description="Darkroom's steps as a Kubeflow pipeline.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text, options) in COMMANDS.items():
        added = commands.add_parser(name, help=text, description=text)
        for option in options.split():
            added.add_argument(option, **OPTIONS.get(f"{name} {option}") or OPTIONS[option])
    return parser


if __name__ == "__main__":
    sys.exit(main())
