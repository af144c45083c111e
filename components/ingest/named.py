"""Data sets known by name: `fashion-mnist`, fetched from where it can be and checked; `digits`, from scikit-learn."""

import gzip
import hashlib
import http.client
import shutil
import urllib.request
import zlib
from collections.abc import Callable
from pathlib import Path

from components.ingest.forms import idx
from components.ingest.labelled_arrays import Pair, source_of
from components.ingest.source import Source
from components.shared import deadline, scratch
from components.shared.errors import CannotRun

FASHION_CLASSES = ["T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
# SHA-256 of the uncompressed content: mirrors compress differently, the pictures are the same.
FASHION_FILES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
DEBIAN_PACKAGE = "dataset-fashion-mnist"
KERAS_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
PATIENCE = 10  # seconds without an answer before the next way is tried
WHOLE = 300  # seconds for one file, or one command, however they are spent
LARGEST = 2**26  # bytes of a file


def fashion_mnist() -> Source:
    """70,000 grey pictures of 28x28 px, 10 classes, official test split (Xiao et al., 2017). Raises CannotRun."""
    ways = {"local copy": _local_copy, "Keras's download": _keras, f"Debian's package {DEBIAN_PACKAGE}": _debian}
    failures = []
    for name, way in ways.items():
        with scratch.folder() as folder:
            try:
                # The arrays are in memory when this returns: the scratch folder is not needed any more.
                source = idx.pairs_in(_checked(way(folder)), classes=FASHION_CLASSES)
                return source._replace(what=f"fashion-mnist ({name}), {source.what}")
            except CannotRun as error:
                failures.append(f"  {name}: {error}")
    raise CannotRun(
        "fashion-mnist: could not be fetched; tried:",
        *failures,
        f"  With a copy of its four files: darkroom ingest FOLDER data, or: apt-get install {DEBIAN_PACKAGE}",
    )


def digits() -> Source:
    """1,797 grey pictures of 8x8 px, 10 classes, from scikit-learn: no download."""
    from sklearn.datasets import load_digits

    loaded = load_digits()
    pictures = (loaded.images * (255 / 16)).round().astype("uint8")
    return source_of([Pair(pictures, loaded.target, None)], "digits (scikit-learn)", Path(), classes=None)


SETS: dict[str, Callable[[], Source]] = {"fashion-mnist": fashion_mnist, "digits": digits}


def _checked(folder: Path) -> Path:
    """A folder of the four files, packed or not, each with the content that was published."""
    for name, digest in FASHION_FILES.items():
        plain, packed = folder / name, folder / f"{name}.gz"
        try:
            found = hashlib.sha256(plain.read_bytes() if plain.exists() else gzip.decompress(packed.read_bytes())).hexdigest()
        except (OSError, EOFError, zlib.error) as error:
            raise CannotRun(f"{name}: cannot be read ({error})") from None
        if digest != found:
            raise CannotRun(f"{name}: content differs from the published one (sha256 {found[:12]}...)")
    return folder


def _local_copy(folder: Path) -> Path:
    if not DEBIAN_FOLDER.is_dir():
        raise CannotRun(f"no {DEBIAN_FOLDER}")
    return DEBIAN_FOLDER


def _keras(folder: Path) -> Path:
    for name in FASHION_FILES:
        try:
            # Not through Keras itself: importing it takes longer than the download.
            (folder / f"{name}.gz").write_bytes(_download(f"{KERAS_ORIGIN}{name}.gz"))
        except (OSError, http.client.HTTPException) as error:
            raise CannotRun(str(error)) from None
    return folder


def _download(address: str) -> bytes:
    def read() -> bytes:
        with urllib.request.urlopen(address, timeout=PATIENCE) as answer:  # noqa: S310 (https above)
            return answer.read(LARGEST + 1)

    content = deadline.within(WHOLE, read, what=address)
    if len(content) > LARGEST:
        raise CannotRun(f"{address}: more than {LARGEST // 2**20} MiB")
    return content


def _debian(folder: Path) -> Path:
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        raise CannotRun("no apt-get on this machine")
    # Package lists in a folder of our own, so that it works without root and where no list was ever fetched.
    for part in ("lists/partial", "archives/partial"):
        (folder / part).mkdir(parents=True)
    own = ["-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}", "-o", "APT::Sandbox::User="]
    for command in (["apt-get", *own, "-qq", "update"], ["apt-get", *own, "-qq", "download", DEBIAN_PACKAGE]):
        done = deadline.command(command, cwd=folder, seconds=WHOLE)
        if done.returncode:
            raise CannotRun(f"{' '.join(command[-2:])}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    packages = list(folder.glob("*.deb"))
    if not packages:
        raise CannotRun("apt-get downloaded nothing")
    if deadline.command(["dpkg-deb", "-x", str(packages[0]), str(folder / "content")], seconds=WHOLE).returncode:
        raise CannotRun(f"{packages[0].name}: cannot be unpacked")
    return folder / "content" / DEBIAN_FOLDER.relative_to("/")
