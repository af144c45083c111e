"""The trained and evaluated models that ask to be registered, and what each has to show."""

import csv
import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from components.register import criteria
from components.register.config import RegisterConfig
from components.shared import files
from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import keras_file
from components.shared.models.package import Package
from components.shared.models.package import read as read_package

RECORD = ("training_id", "name", "knobs", "validation", "model", "classes", "shape", "data_digest", "tags")  # of run.json
FIGURES = ("macro_f1", "expected_calibration_error", "log_loss", "samples")  # that a model card shows, beside the shares
COST = ("training_seconds", "model_mebibytes", "parameters", "prediction_milliseconds")
STRESS = ("mean_corruption_error", "worst", "samples", "package", "test_digest")
SPLIT = "split.json"  # of prepare, which evaluate keeps
ABSOLUTE = ("accuracy", "balanced_accuracy", "worst_class_recall")  # which have to be shares


@dataclass
class Candidate:
    """One architecture: its folders, its records, and why it was accepted or not."""

    model: Path
    evaluation: Path
    record: dict  # run.json of train
    metrics: dict[str, float]  # on the test split
    cost: dict[str, float]
    test_digest: str
    package: Package
    learnt_from: int = 0  # test samples that the model was trained or tuned on
    twins: dict[str, int] = field(default_factory=dict)  # split -> test samples with a near twin there; empty: not counted
    intervals: dict[str, list[float]] = field(default_factory=dict)  # metric -> 95 % interval
    slices: list[dict[str, str]] = field(default_factory=list)  # parts of the test split, sorted by harm
    stress: dict = field(default_factory=dict)  # what damage does; empty: not measured
    version: str | None = None
    card: str = ""  # the version's description
    reasons: list[str] = field(default_factory=list)

    @property
    def architecture(self) -> str:
        """`cnn` or `lstm`."""
        return self.record["tags"]["architecture"]

    @property
    def identity(self) -> str:
        """The same weights from the same data and knobs are the same candidate, however often they come."""
        made_by = {name: knobs for name, knobs in self.record["knobs"].items() if name not in ("measure", "validate")}
        answers = asdict(self.package.calibration)  # other knobs of `package` make other answers
        content = [self.record["model"]["weights_sha256"], self.record["data_digest"], made_by, answers]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def classes_digest(self) -> str:
        """What the candidate recognises, short enough for a tag however many classes there are."""
        return hashlib.sha256("\n".join(self.record["classes"]).encode()).hexdigest()

    def examine(self) -> None:
        """Raise CannotRun when the Keras model is missing or damaged, Refused when it is another or its weights are not finite."""
        keras_file.examine(self.model / keras_file.FILE, sha256=self.record["model"]["sha256"])

    def on_validation(self, metric: str) -> float:
        """The value of a metric on the validation split: what architectures are chosen by."""
        return self.record["validation"][metric]

    def caveat(self) -> list[str]:
        """A line when test samples have twins on another side of the split, which makes the figures better than they are."""
        told = " and ".join(f"{count:,} in {name}" for name, count in self.twins.items() if count)
        return [f"Of {self.metrics['samples']:,} test samples some have a near twin elsewhere ({told}); they flatter the figures."
                ] if told else []  # fmt: skip

    def faults(self, config: RegisterConfig) -> list[str]:
        """The absolute gates that the model does not pass, one line each.

        Every comparison with NaN is False, so that figures are first held to be figures.
        """
        shares = (*ABSOLUTE, config.compare_by)
        names = dict.fromkeys((*shares, *FIGURES, *self.metrics))
        figures = [(name, "the test split", self.metrics.get(name)) for name in names]
        figures.append((config.compare_by, "validation data", self.record["validation"].get(config.compare_by)))
        if faults := [f"{name} on {where} is {'missing' if value is None else repr(value)}" for name, where, value in figures
                      if not _is_finite(value) or (name in shares and not _is_share(value))]:  # fmt: skip
            return [f"{self.architecture}: {fault}, expected a finite number; `dvc repro -f` trains and scores it anew"
                    for fault in faults]  # fmt: skip
        if self.learnt_from:
            return [f"{self.architecture}: was scored on {self.learnt_from:,} test samples that it has learnt from, expected none; "
                    "`dvc repro` trains it on the present split"]  # fmt: skip
        return [f"{self.architecture}: {row.reason}" for row in self.criteria(config) if row.verdict == criteria.FAILS]

    def criteria(self, config: RegisterConfig) -> list[criteria.Row]:
        """The absolute gates, a row each, the passed ones, too."""
        figures = self.cost | {"mean_corruption_error": self.stress.get("mean_corruption_error")} | self.metrics
        return criteria.alone(self.architecture, figures, self.intervals, config, promise=self.package.calibration.coverage)


def read(model: Path, package: Path, evaluation: Path, stress: Path | None = None) -> Candidate:
    """Read what train, package, evaluate and stress left. Raises CannotRun when it is not whole, or not of the same training."""
    record, test = (
        files.read_json(model / "run.json", *RECORD),
        files.read_json(evaluation / "test.json", "training_id", "digest"),
    )
    if record["training_id"] != test["training_id"]:
        raise CannotRun(f"{evaluation}: is of another training than {model}; `dvc repro` brings them together")
    made = read_package(package)
    metrics, cost = files.read_json(evaluation / "metrics.json", "samples"), files.read_json(evaluation / "cost.json", *COST)
    split = files.read_json(evaluation / SPLIT) if (evaluation / SPLIT).exists() else {}
    twins = split.get("splits", {}).get("test", {}).get("with_a_twin_in", {})
    found = Candidate(model, evaluation, record, metrics, cost, test["digest"], made, test.get("learnt_from") or 0, twins)
    if (file := evaluation / "intervals.json").exists():
        found.intervals = files.read_json(file)
    if (file := evaluation / "slices.csv").exists():
        with file.open(encoding="utf-8", newline="") as stream:
            found.slices = list(csv.DictReader(stream))
    if stress:
        found.stress = files.read_json(stress / found.architecture / "stress.json", *STRESS)
        if (found.stress["package"], found.stress["test_digest"]) != (made.digest, found.test_digest):
            raise CannotRun(
                f"{stress}: is of another package than {package}, or of other test samples; `dvc repro` brings them together"
            )
    return found


def read_all(
    models: list[Path], packages: list[Path], evaluations: list[Path], prepared: Path, stress: Path | None = None
) -> list[Candidate]:
    """All candidates, which were scored on the test split that lies in `prepared`. Raises CannotRun."""
    if len({len(models), len(packages), len(evaluations)}) > 1:
        raise CannotRun(f"register: {len(models)} models but {len(packages)} packages and {len(evaluations)} evaluations")
    candidates = [read(*folders, stress) for folders in zip(models, packages, evaluations, strict=True)]
    if len({candidate.test_digest for candidate in candidates}) > 1:
        raise CannotRun("register: the models were scored on different test splits; `dvc repro` brings them together")
    if arrays.load(prepared / "test").content_digest() != candidates[0].test_digest:
        raise CannotRun(f"{prepared}: its test split is not the one that the models were scored on; "
                        "`dvc repro` brings them together")  # fmt: skip
    return candidates


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and abs(value) < float("inf")


def _is_share(value: float) -> bool:
    return not isinstance(value, bool) and 0 <= value <= 1
