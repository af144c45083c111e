"""A model by its name -> its package: out of a folder, the registry, a run, a store of files."""

import shutil
from pathlib import Path

import pytest
from conftest import empty_store
from toy_package import make_package

from components.shared.errors import CannotRun
from components.shared.runs import tracking
from components.shared.runs.logged_model import DIGEST
from components.shared.runs.packages import fetched, resolve


@pytest.fixture
def registered(here: Path):
    """A package that is version 1 of `toys`, its champion; and the registry's client."""
    made = make_package(here / "logged/artifacts/package")
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    client = tracking.connect().MlflowClient()
    client.create_registered_model("toys")
    client.create_model_version("toys", (here / "logged").as_uri(), tags={DIGEST: made.digest})
    client.set_registered_model_alias("toys", "champion", "1")
    return made, client


def test_a_package_is_found_by_folder_alias_version_and_address(registered, here):
    made, _ = registered
    for model in (str(made.folder), "models:/toys@champion", "models:/toys/1", made.folder.as_uri()):
        with fetched(model, digest=made.digest) as package:
            assert (package.digest, package.classes) == (made.digest, made.classes)
            assert package.facts.get("version") == ("1" if model.startswith("models:") else None)
            assert (package.folder / "validation.parquet").is_file()
        assert package.folder.exists() == (model == str(made.folder))
    assert resolve("models:/toys@champion") == ("1", made.folder.as_uri(), made.digest)
    assert resolve("s3://bucket/package") == ("", "s3://bucket/package", "")


def test_what_mlflow_does_not_know_is_told_with_what_there_is(registered):
    for model in ("models:/toys@best", "models:/toys/9", "models:/toy@champion", "models:/toys/x", "models:/toys"):
        with (
            pytest.raises(CannotRun, match="there is no such version; there are: models:/toys@champion") as told,
            fetched(model),
        ):
            pass
        assert len(str(told.value).splitlines()) == 1
    with pytest.raises(CannotRun, match="no run with a package"), fetched("runs:/" + "0" * 32):
        pass
    with pytest.raises(CannotRun, match=r"package.json: no such file"), fetched("nowhere"):
        pass


@pytest.mark.parametrize("harm", ["another", "cut", "gone", "none"])
def test_a_package_that_is_not_the_registered_one_is_not_used(registered, here, harm):
    made, client = registered
    if harm == "another":
        shutil.rmtree(made.folder)
        make_package(made.folder, seed=1)
    elif harm == "cut":
        (made.folder / "model.onnx").write_bytes((made.folder / "model.onnx").read_bytes()[:-9])
    elif harm == "gone":
        (made.folder / "model.onnx").unlink()
    else:
        client.delete_model_version_tag("toys", "1", DIGEST)
    words = {
        "another": "is another package",
        "cut": "is not what was packaged",
        "gone": "the store has no model.onnx",
        "none": "has no package",
    }
    with pytest.raises(CannotRun, match=words[harm]) as told, fetched("models:/toys@champion"):
        pass
    assert len(str(told.value).splitlines()) == 1


def test_no_name_in_a_package_leads_out_of_its_folder(registered, here):
    made, _ = registered
    text = (made.folder / "package.json").read_text()
    (made.folder / "package.json").write_text(text.replace('"model.onnx"', '"../model.onnx"'))
    with pytest.raises(CannotRun, match="names a file outside"), fetched(made.folder.as_uri()):
        pass
