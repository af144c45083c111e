"""What a version carries of where it comes from: the list of packages, the statement, the signature; what is not signed is not used."""

import json
import shutil
from pathlib import Path

import pytest
from conftest import ROOT
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from toy_package import make_package
from trained import champion, make, package_of, project, register_these

from components.__main__ import main as darkroom
from components.shared import files
from components.shared.models import package as packages
from components.shared.runs import logged_model, provenance, signing, tracking


def keys(place: Path, name: str) -> tuple[Path, Path]:
    """A private and a public key, as files of PEM."""
    key, private, public = ec.generate_private_key(ec.SECP256R1()), place / f"{name}.pem", place / f"{name}.pub"
    shape = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    private.write_bytes(key.private_bytes(serialization.Encoding.PEM, *shape))
    form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(*form))
    return private, public


def test_a_version_says_what_it_was_made_of_and_a_signed_one_is_fetched_by_its_public_key(here, tmp_path, capsys):
    (private, public), (_, foreign) = keys(tmp_path, "ours"), keys(tmp_path, "theirs")
    folders = make(project(here), "cnn", training="first", tags={"architecture": "cnn", "git_commit": "c" * 40 + "+changes"})
    assert register_these(here, folders, signing_key=str(private))["accepted"]
    made = packages.read(package_of(folders[0]))
    client = tracking.connect().MlflowClient()
    address = client.get_model_version_download_uri("darkroom", champion().version)
    statement = files.read_json(logged_model.fetch(address, provenance.STATEMENT, tmp_path))
    assert statement["subject"] == [{"name": made.name, "digest": {"sha256": made.digest}}]
    used = {one["name"]: one for one in statement["predicate"]["buildDefinition"]["resolvedDependencies"]}
    assert (used["code"]["digest"], used["code"]["annotations"]) == ({"gitCommit": "c" * 40}, {"changed": True})
    assert used["requirements.lock"]["digest"] == {"sha256": files.digest(ROOT / "requirements.lock")}
    assert used["data.dvc"]["digest"] == {"md5": "d"}
    packed = logged_model.fetch(address, provenance.PACKAGES, tmp_path)
    assert used["sbom.json"]["digest"] == {"sha256": files.digest(packed)}

    capsys.readouterr()
    told = "models:/darkroom@champion"
    assert darkroom(["fetch", told, str(tmp_path / "got"), "--public-key", str(public)]) == 0
    assert darkroom(["fetch", str(tmp_path / "got"), str(tmp_path / "again"), "--public-key", str(public)]) == 0
    for model in (told, str(tmp_path / "got")):
        assert darkroom(["fetch", model, str(tmp_path / "not"), "--public-key", str(foreign)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "its signature (model.sig) is not by theirs.pub, or of another package" in line
    assert not (tmp_path / "not").exists()


@pytest.fixture
def signed(tmp_path):
    private, public = keys(tmp_path, "ours")
    made = make_package(tmp_path / "made")
    signing.sign(made, private, made.folder / signing.FILE)
    return made.folder, public


def another(folder: Path) -> None:
    """A package that is whole, under the signature of the first."""
    signature = (folder / signing.FILE).read_bytes()
    shutil.rmtree(folder)
    make_package(folder, seed=3)
    (folder / signing.FILE).write_bytes(signature)


@pytest.mark.parametrize(("harm", "words"), [
    (another, "or of another package"),
    (lambda folder: (folder / signing.FILE).write_text("{}"), "or of another package"),
    (lambda folder: (folder / signing.FILE).unlink(), "is not signed (no model.sig)"),
])  # fmt: skip
def test_a_missing_or_wrong_signature_is_refused_in_one_line(signed, tmp_path, capsys, harm, words):
    folder, public = signed
    (folder / "version").write_text("7")  # what lies beside the package changes nothing
    assert darkroom(["fetch", str(folder), str(tmp_path / "got"), "--public-key", str(public)]) == 0
    harm(folder)
    for command in (["fetch", str(folder), str(tmp_path / "not")], ["serve", str(folder)],
                    ["predict", str(folder), str(tmp_path), "--output", str(tmp_path / "answers.csv")]):  # fmt: skip
        capsys.readouterr()
        assert darkroom([*command, "--public-key", str(public)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert darkroom(["fetch", str(folder), str(tmp_path / "not"), "--public-key", str(folder / "package.json")]) == 2
    assert "expected a public key" in capsys.readouterr().err


def test_a_key_that_is_none_registers_nothing_and_is_not_told(here, tmp_path, capsys):
    (tmp_path / "key").write_text("very secret")
    folders = make(project(here), "cnn", training="first")
    with pytest.raises(Exception, match=r"register.signing_key: .*expected a private key") as told:
        register_these(here, folders, signing_key=str(tmp_path / "key"))
    assert "very secret" not in str(told.value) + "".join(capsys.readouterr())
    assert tracking.connect().MlflowClient().search_model_versions("name = 'darkroom'") == []


def test_the_list_of_packages_is_cyclonedx_and_the_same_each_time():
    text = provenance.packages()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    named = {one["name"]: one["version"] for one in json.loads(text)["components"]}
    assert {"tensorflow-cpu", "keras", "onnxruntime"} <= named.keys()
    provenance.packages.cache_clear()
    assert provenance.packages() == text
