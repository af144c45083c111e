"""A model by its name -> its package, whole and unchanged: a folder, `models:/NAME@alias`, `models:/NAME/3`, `runs:/ID`, `s3://...`."""

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from components.shared import files, scratch
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.models.package import Package
from components.shared.runs import logged_model, signing
from components.shared.runs.connection import ask, connect, explained


@contextlib.contextmanager
def fetched(model: str, *, digest: str = "", public_key: Path | None = None) -> Iterator[Package]:
    """The package of a model; what is not a folder is downloaded, and gone when the block ends.

    `digest`: of the package that is expected, beside the one that the registry names. `public_key`: of whoever must have signed it
    (see `signing`). `facts["version"]` is the version's number,
    where the registry gave it. Raises CannotRun.
    """
    if "://" not in model and not model.startswith(("models:/", "runs:/")):
        found = package.read(Path(model), digest=digest)
        if public_key:
            signing.verify(found, public_key)
        yield found
        return
    version, address, known = resolve(model)
    if digest and known and digest != known:
        raise CannotRun(f"{model}: is another package (sha256 {known[:12]}..., expected {digest[:12]}...)")
    with scratch.folder("package") as folder:
        try:
            with explained(model):
                found = download(address, folder, digest or known)
        except logged_model.Unusable as error:
            raise CannotRun(f"{model}: {error}") from None
        if public_key:
            signing.verify(found, public_key)
        yield dataclasses.replace(found, facts=found.facts | {"version": version}) if version else found


def download(address: str, folder: Path, digest: str = "") -> Package:
    """Download a package, at an address of the store, into a folder; nothing of it is used before its digest is checked.

    Raises CannotRun when it is not whole, or another one; Unusable when the store has it no more.
    """
    file = logged_model.fetch(address, package.FILE, folder)
    if digest and (found := files.digest(file)) != digest:
        raise CannotRun(f"{address}: is another package (sha256 {found[:12]}..., expected {digest[:12]}...)")
    for name in files.read_json(file, "files")["files"]:
        if not package.FILES.fullmatch(name):
            raise CannotRun(f"{address}: its {package.FILE} names a file outside of it; it is not fetched")
        logged_model.fetch(address, name, folder)
    with contextlib.suppress(logged_model.Unusable):  # not signed
        logged_model.fetch(address, signing.FILE, folder)
    return package.read(folder, digest=digest)


def resolve(model: str) -> tuple[str, str, str]:
    """Of a model's name: the version's number, where its package lies, and the package's digest; empty what is not known.

    Raises CannotRun when MLflow does not know it, with what there is, or when it was registered without a package.
    """
    scheme, _, name = model.partition(":/")
    if scheme not in ("models", "runs") or name.startswith("/"):
        return "", model, ""
    mlflow = connect()
    client = mlflow.MlflowClient()
    version, address, digest = ask(mlflow, lambda: _version(client, name) if scheme == "models" else _run(client, name))
    if not digest:
        raise CannotRun(f"{model}: has no package, an older Darkroom made it; `dvc repro` packages and registers it anew")
    return version, f"{address.rstrip('/')}/{logged_model.PACKAGE}", digest


def _version(client, name: str) -> tuple[str, str, str]:
    from mlflow.exceptions import MlflowException

    registered, _, alias = name.partition("@")
    registered, _, number = (registered, "", "") if alias else name.rpartition("/")
    try:
        version = (
            client.get_model_version_by_alias(registered, alias) if alias else client.get_model_version(registered, number)
        )
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "NOT_FOUND"):
            raise
        present = [f"models:/{each.name}@{alias}" for each in client.search_registered_models() for alias in each.aliases]
        raise CannotRun(f"models:/{name}: there is no such version; there are: {', '.join(present[:20]) or 'none'}") from None
    address = client.get_model_version_download_uri(version.name, version.version)
    return str(version.version), address, version.tags.get(logged_model.DIGEST, "")


def _run(client, name: str) -> tuple[str, str, str]:
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_run(name).data.tags
        logged = client.get_logged_model(tags[logged_model.ID])
    except (MlflowException, KeyError) as error:
        if getattr(error, "error_code", "") not in ("", *logged_model.GONE):
            raise
        raise CannotRun(f"runs:/{name}: no run with a package; expected the id of a training's run") from None
    return "", logged.artifact_location, logged.tags.get(logged_model.DIGEST, "")
