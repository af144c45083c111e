"""A package: the one folder that whoever answers needs of a model, without TensorFlow. Written by `package`, read by all others.

`package.json` says everything of it: classes, preprocessing, calibration, what it was made from, and the digest of each file beside
it; its own digest is the package's. `model.onnx` is the network: `images`, uint8 (n, *shape), to `probabilities`, float32
(n, classes), and `features`, what its output layer sees, float32 (n, f). `validation.parquet` is what it made of the validation
split (see `observed`), with the true `label`. `version`, beside a package that was fetched, is the number that the registry gave it.
"""

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.shared import files
from components.shared.errors import CannotRun
from components.shared.models.answers import Calibration
from components.shared.pictures.preprocessing import Preprocessing

FILE, MODEL, VALIDATION, VERSION = "package.json", "model.onnx", "validation.parquet", "version"
FORMAT = 1
FILES = re.compile(r"[\w.-]{1,100}")  # names beside package.json; no way out of the folder


@dataclass(frozen=True)
class Package:
    """`files`: name -> sha256 of what lies beside package.json; `facts`: where it comes from, and what was measured of it."""

    name: str  # such as cnn-default
    classes: list[str]
    preprocessing: Preprocessing
    calibration: Calibration
    files: dict[str, str]
    facts: dict = field(default_factory=dict)
    folder: Path = Path()
    digest: str = ""  # sha256 of package.json

    def write(self, folder: Path) -> None:
        """Write `package.json` beside the files that it names."""
        content = {
            "format": FORMAT, "name": self.name, "classes": self.classes, "preprocessing": self.preprocessing.record(),
            "calibration": asdict(self.calibration), "files": self.files, "facts": self.facts,
        }  # fmt: skip
        files.write_json(folder / FILE, content)


def read(folder: Path, *, digest: str = "") -> Package:
    """Read a package; every file in it must be what it was. `digest`: of the package that is expected, where it is known.

    Raises CannotRun.
    """
    file = folder / FILE
    content = files.read_json(file, "format", "name", "classes", "preprocessing", "calibration", "files", "facts")
    if content["format"] != FORMAT:
        raise CannotRun(
            f"{file}: format {str(content['format'])[:20]!r}, expected {FORMAT}; `dvc repro package` writes it anew"
        )
    found = files.digest(file)
    if digest and found != digest:
        raise CannotRun(f"{file}: is another package (sha256 {found[:12]}..., expected {digest[:12]}...)")
    try:
        calibration = Calibration(**{name: float(content["calibration"][name]) for name in Calibration.__dataclass_fields__})
        classes, digests = [str(name) for name in content["classes"]], dict(content["files"])
    except (KeyError, TypeError, ValueError):
        raise CannotRun(f"{file}: damaged; `dvc repro package` writes it anew") from None
    for name, expected in digests.items():
        if not FILES.fullmatch(name) or not (folder / name).is_file() or files.digest(folder / name) != expected:
            raise CannotRun(f"{folder}: {Path(name).name[:100]} is missing, or is not what was packaged; fetch it anew")
    if MODEL not in digests:
        raise CannotRun(f"{file}: names no {MODEL}; `dvc repro package` writes it anew")
    way = Preprocessing.read(content["preprocessing"], where=file)
    facts = content["facts"] | ({"version": version} if (version := _version(folder)) else {})
    return Package(content["name"], classes, way, calibration, digests, facts, folder, found)


def _version(folder: Path) -> str:
    """The registry's number for it; empty where nobody noted one."""
    try:
        found = (folder / VERSION).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return found if re.fullmatch("[0-9]{1,9}", found) else ""
