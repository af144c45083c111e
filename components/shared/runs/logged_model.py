"""A model in MLflow's store: logged, and read back. What the store gives must be what was trained.

It is never loaded through MLflow's flavours, which import whatever module the files name: only `model.keras` is read, through
the list of what a network of ours may hold.
"""

from pathlib import Path

import numpy as np

from components.shared import files, scratch
from components.shared.errors import Stop
from components.shared.models import keras_file

GONE = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
PLACE = "data"  # where MLflow's flavour for Keras keeps the file
PACKAGE = "artifacts/package"  # where the package lies in a logged model
DIGEST = "package_sha256"  # tag of a version, and of a logged model: which package it holds
ID = "darkroom.model_id"  # tag of a run: its logged model


class Unusable(Stop):
    """The store answered, but what it holds is gone, damaged, foreign, or another model; the text says which."""

    exit_code = 2


def log(mlflow, run_id: str, folder: Path, record: dict) -> str:
    """Log a trained model with a uint8 signature, by Keras's flavour: it writes no pickle. Returns the model's id."""
    import keras
    from mlflow.models import Model, ModelSignature
    from mlflow.types import Schema, TensorSpec

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, *record["shape"]))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(record["classes"])))]),
    )
    logged = Model.log(
        artifact_path=None,
        name="model",
        flavor=mlflow.keras,
        run_id=run_id,
        model=keras_file.load(folder / keras_file.FILE, sha256=record["model"]["sha256"]),
        signature=signature,
        # Given, not guessed: guessing starts TensorFlow in another process.
        pip_requirements=[f"keras=={keras.__version__}", f"numpy=={np.__version__}", "tensorflow"],
        metadata={"classes": record["classes"], "sha256": record["model"]["sha256"]},
    )
    return logged.model_id


def address_of(client, model_id: str) -> str:
    """Where the files of a logged model lie. Raises Unusable when the store does not know it."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_logged_model(model_id).artifact_location
    except MlflowException as error:
        if error.error_code in GONE:
            raise Unusable("the store does not know it any more") from None
        raise


def read_back(mlflow, address: str, weights_sha256: str):
    """Download the model at an address of the store and load it: the Keras model, and the digest of its file.

    `weights_sha256` is the digest of the weights that were trained. Raises Unusable.
    """
    with scratch.folder("model") as folder:
        file = _download(mlflow, address, folder)
        digest = files.digest(file)
        try:
            model = keras_file.load(file, sha256=digest)
        except Stop as stop:
            raise Unusable(str(stop).removeprefix(f"{file}: ")) from None
        except Exception as error:  # Keras and HDF5 raise whatever they please over a damaged file
            raise Unusable(f"its file cannot be read ({type(error).__name__})") from None
    weights = keras_file.weights_digest(model)
    if weights != weights_sha256:
        raise Unusable(f"its weights are not those that were trained (sha256 {weights[:12]}..., "
                       f"trained {weights_sha256[:12]}...)")  # fmt: skip
    return model, digest


def _download(mlflow, address: str, folder: Path) -> Path:
    """Only the one file. When the store lists it but does not send it the store is at fault, not the model."""
    from mlflow.exceptions import MlflowException

    try:
        listed = {Path(entry.path).name for entry in mlflow.artifacts.list_artifacts(artifact_uri=f"{address}/{PLACE}") or ()}
    except (MlflowException, OSError) as error:
        if getattr(error, "error_code", "") in GONE or isinstance(error, FileNotFoundError | NotADirectoryError):
            raise Unusable("its files are gone") from None
        raise
    if keras_file.FILE not in listed:
        raise Unusable(f"its files are gone: the store has no {PLACE}/{keras_file.FILE}")
    return fetch(address, f"{PLACE}/{keras_file.FILE}", folder)


def fetch(address: str, path: str, folder: Path) -> Path:
    """Download one file of the store into a folder.

    Not by `download_artifacts`: its pool of threads keeps a process from ending as long as a server keeps it waiting.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    file = folder / Path(path).name
    get_artifact_repository(address)._download_file(path, str(file))
    return file
