"""`python -m pipelines COMMAND`: compile the pipeline, run it here, submit it to Kubeflow."""

import argparse
import sys
from pathlib import Path

from pipelines.settings import FILE as SETTINGS

DONE = 0
OVERVIEW = """Exit codes: 0 done; 1 a step failed; 2 could not run. Where Kubeflow is and who asks comes from the environment:
KFP_HOST, KFP_NAMESPACE, and KFP_TOKEN, KFP_COOKIES or a service account's token (KF_PIPELINES_SA_TOKEN_PATH)."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is 0 done, 1 a step failed, 2 could not run."""
    options = _parser().parse_args(arguments)
    from components.shared.errors import Stop

    try:
        return options.do(options)
    except Stop as stop:
        print(stop, file=sys.stderr)
        return stop.exit_code
    except KeyboardInterrupt:
        print(f"pipelines {options.command}: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pipelines",
        description="Darkroom's steps as a Kubeflow pipeline.",
        epilog=OVERVIEW,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, do, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(do=do)
        return added

    compiling = command("compile", _compile, "write the pipeline as the YAML that Kubeflow takes")
    compiling.add_argument("--output", type=Path, default=Path("outputs/pipeline.yaml"), help="default: %(default)s")
    running = command("run", _run, "run it here, through KFP's local runner: no cluster")
    running.add_argument("--containers", action="store_true", help="in the image, through podman or docker, locked down")
    running.add_argument("--memory", default="4g", help="limit of each container (default: %(default)s)")
    running.add_argument("--data", type=Path, default=Path("data"), help="folder of shards (default: %(default)s)")
    running.add_argument("--digest", default="", help="refuse other data than this (default: whatever is there)")
    running.add_argument(
        "--root", type=Path, default=Path("outputs/kubeflow"), help="where artifacts go (default: %(default)s)"
    )
    running.add_argument("--no-cache", action="store_true", help="run every step, also what was run before")
    for added in (compiling, running):
        added.add_argument("--params", type=Path, default=Path("params.yaml"), help="where the knobs stand (default: %(default)s)")
        added.add_argument(
            "--set", action="append", default=[], metavar="KNOB=VALUE", help="such as train.cnn.epochs=3; repeatable"
        )
    for added in (compiling,):
        added.add_argument(
            "--settings", type=Path, default=SETTINGS, help="resources, retries, secrets (default: %(default)s)"
        )
    return parser


def _compile(options: argparse.Namespace) -> int:
    from pipelines import graph

    pipeline, _ = graph.for_cluster(options)
    graph.write(pipeline, options.output)
    print(f"{options.output}: upload it in Kubeflow's UI, or `python -m pipelines submit` does")
    return DONE


def _run(options: argparse.Namespace) -> int:
    from pipelines import local

    return local.run(options)


if __name__ == "__main__":
    sys.exit(main())
