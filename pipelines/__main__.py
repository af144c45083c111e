"""`python -m pipelines COMMAND`: compile the pipeline, or run it on this machine without a cluster."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

IMAGE = "localhost/darkroom:latest"
DONE, FAILED, CANNOT_RUN = 0, 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 a step failed, 2 could not run."""
    parser = argparse.ArgumentParser(prog="python -m pipelines", description="Darkroom's steps as a Kubeflow pipeline.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compiling = commands.add_parser("compile", help="write the pipeline as the YAML that Kubeflow takes")
    compiling.add_argument("--output", type=Path, default=Path("outputs/pipeline.yaml"), help="default: %(default)s")
    running = commands.add_parser("run", help="run it here, through KFP's local runner: no cluster, no containers")
    running.add_argument("--data", type=Path, default=Path("data"), help="folder of shards (default: %(default)s)")
    running.add_argument(
        "--root", type=Path, default=Path("outputs/kubeflow"), help="where artifacts go (default: %(default)s)"
    )
    for command in (compiling, running):
        command.add_argument(
            "--params", type=Path, default=Path("params.yaml"), help="where the knobs stand (default: %(default)s)"
        )
        command.add_argument(
            "--set", action="append", default=[], metavar="KNOB=VALUE", help="such as train.cnn.epochs=3; repeatable"
        )
    options = parser.parse_args(arguments)

    from components.shared.errors import Stop

    try:
        return _compile(options) if options.command == "compile" else _run(options)
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code


def _compile(options: argparse.Namespace) -> int:
    from kfp.compiler import Compiler

    options.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.output.parent) as folder:
        whole = Path(folder) / "pipeline.yaml"
        Compiler().compile(_pipeline(options), str(whole))
        whole.replace(options.output)
    print(f"{options.output}: upload it in Kubeflow's UI, or submit it")
    return DONE


def _run(options: argparse.Namespace) -> int:
    from kfp import local

    from components.shared import dataset

    dataset.shards(options.data)  # says what is missing before anything starts
    options.root.mkdir(parents=True, exist_ok=True)
    # KFP leaves a folder of generated code behind for every task: it goes with this one.
    with tempfile.TemporaryDirectory(prefix="darkroom-") as scratch:
        os.environ["TMPDIR"] = scratch
        tempfile.tempdir = None
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(options.root.absolute()))
        try:
            _pipeline(options)(data=str(options.data.absolute()))
        except RuntimeError as error:
            print(f"pipelines run: {error}", file=sys.stderr)
            return FAILED
        finally:
            os.environ.pop("TMPDIR")
            tempfile.tempdir = None
    return DONE


def _pipeline(options: argparse.Namespace):
    from components.__main__ import check
    from components.shared import config
    from pipelines.training import training_pipeline

    params = config.read_params(options.params)
    for change in options.set:
        config.override(params, change, file=options.params)
    check(params)
    return training_pipeline(params, image=os.environ.get("DARKROOM_IMAGE", IMAGE))


if __name__ == "__main__":
    sys.exit(main())
