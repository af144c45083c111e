"""A model in MLflow's store: logged, and read back. What the store gives must be what was trained, and what was packaged.

It is never loaded through MLflow's flavours, which run whatever the files say: only `model.keras` is read, through the list of
what a network of ours may hold, and the package, by its digest.
"""

import contextlib
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

from components.shared import files, scratch
from components.shared.errors import CannotRun, Stop
from components.shared.models import keras_file
from components.shared.models.package import Package
from components.shared.runs import provenance

GONE = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
PACKAGE, KERAS = "artifacts/package", f"artifacts/{keras_file.FILE}"  # where the two lie in a logged model
OLDER = f"data/{keras_file.FILE}"  # where MLflow's flavour for Keras kept it, before there were packages
DIGEST = "package_sha256"  # tag of a version, and of a logged model: which package it holds
PROVENANCE = "provenance"  # tag of a logged model: beside its MLmodel lie provenance.json and sbom.json
ID = "darkroom.model_id"  # tag of a run: its logged model
CODE = Path(__file__).with_name("pyfunc.py")
NEEDS = ("mlflow", "numpy", "onnx", "onnxruntime", "opencv-python-headless", "pandas", "pillow", "pyarrow")
NOTE = "# and Darkroom itself, out of its repository: PyPI's package of that name is another's"


class Unusable(Stop):
    """The store answered, but what it holds is gone, damaged, foreign, or another model; the text says which."""

    exit_code = 2


def log(mlflow, run_id: str, model: Path, package: Package, record: dict) -> str:
    """Log a package and the Keras model that it was made of, as a pyfunc from code: no pickle, no path of this machine.

    Returns the model's id.
    """
    import mlflow.pyfunc
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import Array

    kinds = {"label": "string", "probability": "double", "prediction_set": Array("string"), "abstained": "boolean"}
    signature = ModelSignature(outputs=Schema([ColSpec(kind, name) for name, kind in kinds.items()]))

    def save_model(path: str, mlflow_model: Model) -> None:
        folder = Path(path)
        shutil.copytree(package.folder, folder / PACKAGE, ignore=shutil.ignore_patterns(".*"))
        shutil.copy(model / keras_file.FILE, folder / KERAS)
        shutil.copy(CODE, folder)
        needs = "\n".join(f"{name}=={version(name)}" for name in NEEDS)
        (folder / "requirements.txt").write_text(f"{needs}\n{NOTE}\n")
        python = ".".join(map(str, sys.version_info[:3]))
        (folder / "python_env.yaml").write_text(f"python: {python}\ndependencies: [-r requirements.txt]\n")
        provenance.write(folder, package, record)
        mlflow_model.signature = signature
        mlflow.pyfunc.add_to_model(
            mlflow_model, loader_module="mlflow.pyfunc.loaders.code_model", model_code_path=CODE.name,
            python_env="python_env.yaml", model_config={DIGEST: package.digest},
            artifacts={"package": {"path": PACKAGE, "uri": PACKAGE}, "keras": {"path": KERAS, "uri": KERAS}},
        )  # fmt: skip
        mlflow_model.save(folder / "MLmodel")

    return Model.log(
        artifact_path=None,
        name="model",
        flavor=SimpleNamespace(save_model=save_model),
        flavor_name="pyfunc",
        run_id=run_id,
        tags={DIGEST: package.digest, PROVENANCE: "true"},
        metadata={"classes": record["classes"], "sha256": record["model"]["sha256"], DIGEST: package.digest},
    ).model_id


def find(client, model_id: str):
    """What the store says of a logged model. Raises Unusable when it does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_logged_model(model_id)
    except MlflowException as error:
        if error.error_code in GONE:
            raise Unusable("the store does not know it any more") from None
        raise


def holds(client, model_id: str, digest: str) -> bool:
    """Whether the store knows a logged model, and that it is of this package and says what that was made of."""
    try:
        tags = find(client, model_id).tags if model_id else {}
        return tags.get(DIGEST) == digest and PROVENANCE in tags
    except Unusable:
        return False


def read_back(address: str, trained: dict[str, str], package_sha256: str) -> str:
    """Download the model at an address of the store and hold it against what was trained; returns the digest of its Keras file.

    `trained`: `sha256` of that file, and `weights_sha256`, by which another file is the same model, too; only then it is loaded.
    `package_sha256` is empty where a version is from before there were packages. Raises Unusable.
    """
    with scratch.folder("model") as folder:
        file = _keras_file(address, folder)
        digest = files.digest(file)
        if digest != trained.get("sha256"):
            _refuse_other_weights(file, digest, trained.get("weights_sha256", ""))
        if package_sha256:
            package_of(address, folder, package_sha256)
    return digest


def _refuse_other_weights(file: Path, digest: str, trained: str) -> None:
    try:
        weights = keras_file.weights_digest(keras_file.load(file, sha256=digest))
    except Stop as stop:
        raise Unusable(str(stop).removeprefix(f"{file}: ")) from None
    except Exception as error:  # Keras and HDF5 raise whatever they please over a damaged file
        raise Unusable(f"its file cannot be read ({type(error).__name__})") from None
    if weights != trained:
        raise Unusable(f"its weights are not those that were trained (sha256 {weights[:12]}..., trained {trained[:12]}...)")


def package_of(address: str, folder: Path, digest: str) -> Package:
    """Download the package of the model at an address of the store into a folder. Raises Unusable."""
    from components.shared.runs import packages

    try:
        return packages.download(f"{address}/{PACKAGE}", folder, digest)
    except CannotRun as error:
        raise Unusable(f"its package is damaged: {str(error).removeprefix(f'{folder}: ')}") from None


def _keras_file(address: str, folder: Path) -> Path:
    try:
        return fetch(address, KERAS, folder)
    except Unusable:
        with contextlib.suppress(Unusable):
            return fetch(address, OLDER, folder)
        raise


def fetch(address: str, path: str, folder: Path) -> Path:
    """Download one file of the store into a folder. Raises Unusable when there is none.

    When the store lists it but does not send it the store is at fault. Not by `download_artifacts`: its pool of threads keeps a
    process from ending as long as a server keeps it waiting.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    repository, (above, _, name) = get_artifact_repository(address), path.rpartition("/")
    try:
        listed = {Path(entry.path).name for entry in repository.list_artifacts(above or None) or ()}
    except (MlflowException, OSError) as error:
        if getattr(error, "error_code", "") not in GONE and not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise
        listed = set()
    if name not in listed:
        raise Unusable(f"its files are gone: the store has no {path}")
    repository._download_file(path, str(folder / name))
    return folder / name
