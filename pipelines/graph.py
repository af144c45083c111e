"""What `compile`, `run` and `submit` share: the graph with its knobs set and checked, the code's version, the data's digest."""

import argparse
import hashlib
import os
from pathlib import Path

# As `make image` names it: with a fixed tag, for Kubernetes pulls `:latest` anew for each pod, and not the one in the node.
IMAGE, DEFAULT_IMAGE = "DARKROOM_IMAGE", "localhost/darkroom:0.1.0"
PARTS_HERE = 2  # as many as KFP's local runner does at once


def image() -> str:
    """The image that the steps run in."""
    return os.environ.get(IMAGE, DEFAULT_IMAGE)


def knobs(options: argparse.Namespace) -> dict:
    """params.yaml with `--set` applied, all of it checked. Raises CannotRun with every fault."""
    from components.__main__ import check
    from components.shared import config

    params = config.read_params(options.params)
    for change in options.set:
        config.override(params, change, file=options.params)
    check(params, file=options.params)
    return params


def compile_pipeline(options: argparse.Namespace) -> int:
    """Write the pipeline as a file that Kubeflow takes."""
    pipeline, _ = for_cluster(options)
    write(pipeline, options.output)
    print(f"{options.output}: upload it in Kubeflow's UI, or `python -m pipelines submit` does")
    return 0


def for_cluster(options: argparse.Namespace):
    """The pipeline with the settings of `--settings`, and these."""
    from pipelines import pinning, settings
    from pipelines.training import training_pipeline

    how = settings.read(options.settings)
    made = training_pipeline(knobs(options), image=pinning.pinned(image()), code=code_digest(), parts=how.parts, settings=how)
    return made, how


def for_here(params: dict):
    """The pipeline with these knobs, without what only a cluster knows."""
    from pipelines.training import training_pipeline

    return training_pipeline(params, image=image(), code=code_digest(), parts=PARTS_HERE)


def code_digest() -> str:
    """The code's version as a cache needs it: over what the steps are made of, committed or not."""
    root = Path(__file__).parents[1]
    whole = hashlib.sha256()
    for file in sorted(
        [*(root / "components").rglob("*.py"), *(root / "pipelines").glob("*.py"), *root.glob("requirements.lock")]
    ):
        whole.update(f"{file.relative_to(root)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()[:16]


def recorded_digest(file: Path = Path("data.dvc")) -> str:
    """What data.dvc records of the data. Raises CannotRun."""
    from components.shared import yaml_reader
    from components.shared.errors import CannotRun

    hint = "`dvc add data` writes it, or name the data with --digest"
    try:
        return str(yaml_reader.read(file, missing=hint)["outs"][0]["md5"])
    except (LookupError, TypeError):
        raise CannotRun(f"{file}: does not say which data; {hint}") from None


def write(pipeline, file: Path) -> None:
    """Compile into a file, whole or not at all. Raises CannotRun when another thing than a compiled pipeline is there."""
    from kfp.compiler import Compiler

    from components.shared import files, scratch

    with files.whole_file(file, ours=_is_compiled) as temporary, scratch.folder() as folder:
        Compiler().compile(pipeline, str(folder / "pipeline.yaml"))  # KFP asks for a name that ends so
        temporary.write_bytes((folder / "pipeline.yaml").read_bytes())


def _is_compiled(file: Path) -> bool:
    """Whether a file begins as KFP's compiler begins it."""
    with file.open("rb") as stream:
        return stream.readline() == b"# PIPELINE DEFINITION\n"
