"""Files of answers, and the validation data of the package that gave them: the two sides that are compared."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.shared.errors import CannotRun
from components.shared.models.observed import ABOUT, COLUMNS
from components.shared.models.package import VALIDATION, Package

FEWEST = 100  # a side: of fewer samples, chance alone moves a distribution by more than what counts as drift
MOST = 100_000  # answers that are looked at, drawn by chance: more find nothing that counts
LEVELS = ("brightness", "contrast", "sharpness")
_LARGEST = 65_504.0  # what a half-precision number holds


@dataclass(frozen=True)
class Side:
    """`levels`: LEVELS, each float32 (n,); `probabilities` float32 (n, classes); `features` float32 (n, dimensions)."""

    levels: dict[str, np.ndarray]
    probabilities: np.ndarray
    features: np.ndarray

    @classmethod
    def of(cls, table: pa.Table) -> "Side":
        """The columns of `observed`, none of them null."""
        rows = {name: np.stack(table[name].to_numpy()).astype(np.float32) for name in ("probabilities", "features")}
        rows["features"] = np.nan_to_num(rows["features"], posinf=_LARGEST, neginf=-_LARGEST)
        return cls({name: table[name].to_numpy() for name in LEVELS}, **rows)

    @property
    def confidence(self) -> np.ndarray:
        """The highest probability of each, float32 (n,)."""
        return self.probabilities.max(1)

    @property
    def predicted(self) -> np.ndarray:
        """The index of the most probable class of each, int (n,)."""
        return self.probabilities.argmax(1)


def validation(package: Package) -> tuple[Side, np.ndarray]:
    """What the package keeps of its validation split, and the true classes, int (n,). Raises CannotRun."""
    file = package.folder / VALIDATION
    if VALIDATION not in package.files:
        raise CannotRun(f"{file}: is not in the package; `dvc repro package` writes it anew")
    table = pq.read_table(file)
    _refuse_few(len(table), f"{file}: holds", "a larger validation split")
    return Side.of(table), np.array([package.classes.index(label) for label in table["label"].to_pylist()])


def answers(paths: Sequence[Path], package: Package) -> tuple[Side, int, int]:
    """What the answers were given to, and of how many samples, with how many that could not be read. Raises CannotRun.

    `paths`: files, or folders of them, of which those of this package count. Of more than MOST answers so many are drawn, always
    the same.
    """
    files = [file for path in paths for file in _files(path, package)]
    total = sum(pq.read_metadata(file).num_rows for file in files)
    names, rng, kept = ["fault", *(name for name, _ in COLUMNS)], np.random.default_rng(0), []
    for file in files:
        for batch in pq.ParquetFile(file).iter_batches(columns=names):
            kept.append(batch.filter(pa.array(rng.random(len(batch)) * total < MOST)))
    table = pa.Table.from_batches(kept) if kept else pa.table({})
    read = table.filter(pc.is_null(table["fault"])) if kept else table
    where = f"{files[0]}{f' and {len(files) - 1} more' if files[1:] else ''}: holds"
    _refuse_few(len(read), where, f"answers of more samples ({len(table) - len(read)} could not be read)")
    if set(pc.list_value_length(read["probabilities"]).to_pylist()) != {len(package.classes)}:
        raise CannotRun(f"{where} answers with other classes than {package.name}; `darkroom predict` writes them anew")
    return Side.of(read), len(table), len(table) - len(read)


def _files(path: Path, package: Package) -> list[Path]:
    """A file of this package's answers, or those in a folder, which may go on when the champion has changed. Raises CannotRun."""
    found = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
    if not found:
        raise CannotRun(f"{path}: holds no Parquet file; expected what `darkroom predict --output answers.parquet` writes")
    said = {file: _about(file) for file in found}
    if own := [file for file in found if said[file]["package"] == package.digest]:
        return own
    file, other = next(iter(said.items()))
    raise CannotRun(f"{file}: answers of another package ({other.get('model', '')} {other['package'][:12]}...), expected those of "
                    f"{package.name} {package.digest[:12]}...; name its model with --model")  # fmt: skip


def _about(file: Path) -> dict:
    """What `predict` notes in a file: model, version and package. Raises CannotRun for other files."""
    try:
        schema = pq.read_schema(file)
        said = json.loads((schema.metadata or {}).get(ABOUT, b"{}"))
    except (OSError, ValueError, pa.ArrowInvalid):
        raise CannotRun(f"{file}: no Parquet file of answers; `darkroom predict --output answers.parquet` writes one "
                        "(CSV and JSONL hold too little to compare)") from None  # fmt: skip
    missing = sorted({"fault", *(name for name, _ in COLUMNS)} - set(schema.names))
    if missing or "package" not in said:
        raise CannotRun(f"{file}: has no {', '.join(missing) or 'note of its package'}; expected answers as "
                        "`darkroom predict --output answers.parquet` writes them")  # fmt: skip
    return said


def _refuse_few(count: int, what: str, wanted: str) -> None:
    if count < FEWEST:
        raise CannotRun(
            f"{what} {count} readable samples, needed are {FEWEST}: of fewer, chance looks like drift; take {wanted}"
        )
