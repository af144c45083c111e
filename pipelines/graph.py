"""What `compile`, `run` and `submit` share: the graph with its knobs set and checked, the code's version, the data's digest."""

import argparse
import contextlib
import json
import os
from pathlib import Path

from components.shared import config, files, scratch, yaml_reader
from components.shared.config import IMAGE
from components.shared.errors import CannotRun
from pipelines import pinning, settings

# As `make image` names it: with a fixed tag, for Kubernetes pulls `:latest` anew for each pod, and not the one in the node.
DEFAULT_IMAGE = "localhost/darkroom:0.1.0"
# What a step's results are made of; what submits runs and follows them is not.
CODE = ("components/**/*.py", "components/**/*.html", "pipelines/wrappers.py", "pipelines/execution.py", "pipelines/artifacts.py",
        "infra/image.lock")  # fmt: skip


def image() -> str:
    """The image that the steps run in."""
    return os.environ.get(IMAGE, DEFAULT_IMAGE)


def knobs(options: argparse.Namespace) -> dict:
    """params.yaml with `--set` applied, all of it checked. Raises CannotRun with every fault."""
    from components.__main__ import check

    params = config.read_params(options.params)
    for change in options.set:
        config.override(params, change, file=options.params)
    check(params, file=options.params)
    return params


def send_backbones(params: dict, address: str) -> None:
    """Put the networks of one's own that the knobs name into the store, where steps in a container find them. Raises CannotRun."""
    from components.shared.store import Store
    from components.train import backbone

    if backbone.named(params) and not address:
        raise CannotRun("--no-cache: containers find a network of your own in the store, which this leaves out; run without it")
    backbone.keep(params, Store(address))


def compile_pipeline(options: argparse.Namespace) -> int:
    """Write the pipeline as a file that Kubeflow takes."""
    pipeline, _ = for_cluster(options)
    write(pipeline, options.output)
    print(f"{options.output}: upload it in Kubeflow's UI, or `python -m pipelines submit` does")
    return 0


def parameters(params: dict) -> dict:
    """The knobs as parameters of the pipeline: `seed` a number, each section one text of JSON, which Kubeflow's UI shows best."""
    sections = {name: knobs for name, knobs in params.items() if name != "train"}
    sections |= {f"train_{name}": knobs for name, knobs in params["train"].items()}
    compact = (",", ":")  # each section stands in the workflow many times
    return {
        name: json.dumps(knobs, separators=compact) if isinstance(knobs, dict) else knobs for name, knobs in sections.items()
    }


def for_cluster(options: argparse.Namespace, *, newest: bool = False):
    """The pipeline with the settings of `--settings`, and these. Its defaults are the data of this checkout, or the `newest`."""
    from pipelines.training import training_pipeline

    how = settings.read(options.settings)
    data, digest = default_data()
    digest = f"{data.rstrip('/')}/data.dvc" if newest else digest
    made = training_pipeline(
        knobs(options), image=pinning.pinned(image()), code=code_digest(), data=data, digest=digest, settings=how, newest=newest,
        answers=vars(options).get("when_drifted", ""),
    )  # fmt: skip
    return made, how


def for_here(params: dict):
    """The pipeline with these knobs, without what only a cluster knows."""
    from pipelines.training import training_pipeline

    return training_pipeline(params, image=image(), code=code_digest())


def code_digest(root: Path | None = None) -> str:
    """The code's version as a cache needs it, and as the image carries it: over what results are made of, committed or not."""
    return files.digest_of(root or Path(__file__).parents[1], *CODE)[:16]


def default_remote() -> str:
    """The address of DVC's default remote. Raises CannotRun."""
    from dvc.config import Config
    from dvc.exceptions import DvcException

    try:
        known = Config.from_cwd()
        return known["remote"][known["core"]["remote"]]["url"]
    except LookupError:
        hint = "`dvc remote add -d storage s3://bucket/path`, or name it with --data"
        raise CannotRun(f"DVC has no default remote; {hint}") from None
    except DvcException as error:
        reason = " ".join(str(error).split())[:200]
        raise CannotRun(f".dvc/config: cannot be read ({reason}); `dvc remote list` says more") from None


def default_data() -> tuple[str, str]:
    """DVC's default remote, if a cluster can reach it, and what data.dvc records; each empty where there is none."""
    remote = digest = ""
    with contextlib.suppress(CannotRun):
        remote = default_remote()
    with contextlib.suppress(CannotRun):
        digest = recorded_digest()
    return remote if "://" in remote else "", digest


def recorded_digest(file: Path = Path("data.dvc")) -> str:
    """What data.dvc records of the data. Raises CannotRun."""
    hint = "`dvc add data` writes it, or name the data with --digest"
    try:
        return str(yaml_reader.read(file, missing=hint)["outs"][0]["md5"])
    except (LookupError, TypeError):
        raise CannotRun(f"{file}: does not say which data; {hint}") from None


def write(pipeline, file: Path) -> None:
    """Compile into a file, whole or not at all. Raises CannotRun when another thing than a compiled pipeline is there."""
    with files.whole_file(file, ours=_is_compiled) as temporary:
        temporary.write_text(compiled(pipeline), encoding="utf-8")


def compiled(pipeline) -> str:
    """The YAML that Kubeflow takes."""
    from kfp.compiler import Compiler

    with scratch.folder() as folder:
        Compiler().compile(pipeline, str(folder / "pipeline.yaml"))  # KFP asks for a name that ends so
        return (folder / "pipeline.yaml").read_text(encoding="utf-8")


def _is_compiled(file: Path) -> bool:
    """Whether a file begins as KFP's compiler begins it."""
    with file.open("rb") as stream:
        return stream.readline() == b"# PIPELINE DEFINITION\n"
