"""The trained and evaluated models that ask to be registered, and what each has to show."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from components.register.config import RegisterConfig
from components.shared import files
from components.shared.errors import CannotRun

ABSOLUTE = ("accuracy", "balanced_accuracy", "worst_class_recall")


@dataclass
class Candidate:
    """One architecture: its folders, its records, and why it was accepted or not."""

    model: Path
    evaluation: Path
    record: dict  # run.json of train
    metrics: dict[str, float]  # on the test split
    cost: dict[str, float]
    test_digest: str
    version: str | None = None
    reasons: list[str] = field(default_factory=list)

    @property
    def architecture(self) -> str:
        """`cnn` or `lstm`."""
        return self.record["tags"]["architecture"]

    @property
    def identity(self) -> str:
        """The same weights from the same data and knobs are the same candidate, however often they come."""
        content = [self.record["model"]["weights_sha256"], self.record["data_digest"], self.record["knobs"]]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def on_validation(self, metric: str) -> float:
        """The value of a metric on the validation split: what architectures are chosen by."""
        return self.record["validation"][metric]

    def below(self, config: RegisterConfig) -> list[str]:
        """The absolute gates that the model does not pass, one line each."""
        limits = {name: getattr(config, f"minimum_{name}") for name in ABSOLUTE}
        return [
            f"{self.architecture}: {name} {self.metrics[name]:.4f} is below register.minimum_{name} = {limit:g}"
            for name, limit in limits.items()
            if self.metrics[name] < limit
        ]


def read(model: Path, evaluation: Path) -> Candidate:
    """Read what train and evaluate left. Raises CannotRun when the two are not of the same training."""
    record, test = files.read_json(model / "run.json"), files.read_json(evaluation / "test.json")
    if record["training_id"] != test["training_id"]:
        raise CannotRun(f"{evaluation}: is of another training than {model}; `dvc repro` brings them together")
    metrics, cost = files.read_json(evaluation / "metrics.json"), files.read_json(evaluation / "cost.json")
    return Candidate(model, evaluation, record, metrics, cost, test["digest"])
