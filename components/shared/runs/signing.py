"""A package's signature, by a key of one's own and offline: OpenSSF's model signing (https://github.com/sigstore/model-transparency).

It lies in the package's folder, in the store and where the package was fetched. A key: `openssl ecparam -name prime256v1 -genkey`.
"""

from pathlib import Path

from components.shared import scratch
from components.shared.errors import CannotRun
from components.shared.models import package as packages
from components.shared.models.package import Package
from components.shared.runs import logged_model
from components.shared.runs.connection import ask

FILE = "model.sig"


def send(mlflow, model_id: str, package: Package, key: Path) -> None:
    """Sign a package, and put the signature beside the one in the store, into the folder of a logged model. Raises CannotRun."""
    with scratch.folder("signature") as temporary:
        sign(package, key, temporary / FILE)
        ask(mlflow, lambda: mlflow.MlflowClient().log_model_artifact(model_id, str(temporary / FILE), logged_model.PACKAGE))


def sign(package: Package, key: Path, file: Path) -> None:
    """Sign package.json and the files that it names by a private key: PEM, P-256, P-384 or P-521. Raises CannotRun."""
    from model_signing import signing

    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except Exception:  # the text of what is raised may hold some of the key
        raise CannotRun(f"register.signing_key: {key}: expected a private key of an elliptic curve (P-256) as PEM, without a "
                        "password; `openssl ecparam -name prime256v1 -genkey -noout` makes one") from None  # fmt: skip
    signer.set_hashing_config(_whole(package)).sign(package.folder, file)


def verify(package: Package, key: Path) -> None:
    """See that a package was signed by the private key of this public one, and by nobody else. Raises CannotRun."""
    from model_signing import verifying

    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except Exception:
        raise CannotRun(f"{key}: expected a public key of an elliptic curve as PEM (`openssl ec -pubout`)") from None
    if not (package.folder / FILE).is_file():
        raise CannotRun(f"{package.name}: is not signed (no {FILE}), and --public-key asks for it; it is not used")
    try:
        verifier.set_hashing_config(_whole(package)).verify(package.folder, package.folder / FILE)
    except Exception as error:  # of cryptography, of JSON, of model-signing: whatever it is, it is no signature of this package
        raise CannotRun(f"{package.name}: its signature ({FILE}) is not by {key.name}, or of another package "
                        f"({type(error).__name__}); it is not used") from None  # fmt: skip


def _whole(package: Package):
    """Exactly the files of the package: what else lies in its folder is neither signed nor used."""
    from model_signing import hashing

    signed = {packages.FILE, *package.files}
    return hashing.Config().set_ignored_paths(paths=[file.name for file in package.folder.iterdir() if file.name not in signed])
