"""What a watch found, and how others take it: a record, metrics of MLflow, gauges of Prometheus."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.models.package import Package
from components.shared.runs import one_run, values
from components.shared.runs.connection import ask, connect, experiment_id
from components.watch import answered, estimates, quantities
from components.watch.answered import Side
from components.watch.quantities import Comparison

WATCH = "darkroom.watch"  # the run of a watch; the same answers by the same package are one run


@dataclass(frozen=True)
class Outcome:
    """`before`: validation, `now`: the answers; `samples`: that were looked at, `unreadable`: of them.

    `shares`: of each class before and now, (2, classes), and `accuracy`, as in `estimates`.
    """

    package: Package
    before: Side
    now: Side
    samples: int
    unreadable: int
    shares: np.ndarray
    accuracy: dict[str, float]
    comparisons: list[Comparison]

    @classmethod
    def of(cls, answers: Sequence[Path], package: Package) -> "Outcome":
        """Compare answers with the validation data of the package that gave them. Raises CannotRun."""
        before, labels = answered.validation(package)
        now, samples, unreadable = answered.answers(answers, package)
        was, has, of_shares = estimates.class_shares(before, labels, now)
        accuracy, of_accuracy = estimates.accuracy(before, labels, now)
        most, moved = np.abs(has - was).argmax(), float(np.abs(has - was).sum() / 2)
        true, estimated = accuracy["validation"], accuracy["estimated"]
        comparisons = [
            *quantities.compared(before, now, unreadable, package.calibration.answer_floor),
            Comparison("class shares", "BBSE, total variation", float(was[most]), float(has[most]), moved, quantities.MIX, of_shares,
                       what=package.classes[most]),
            Comparison("estimated accuracy", "Welch, drop", true, estimated, true - estimated, quantities.DROP, of_accuracy),
        ]  # fmt: skip
        shares = np.stack([was, has])
        return cls(package, before, now, samples, unreadable, shares, accuracy, quantities.corrected(comparisons))

    @property
    def moved(self) -> list[Comparison]:
        """What is not as it was."""
        return [one for one in self.comparisons if one.moved]

    @property
    def drift(self) -> bool:
        """Whether that calls for a new training: broken files do not."""
        return any(one.quantity != "unreadable" for one in self.moved)

    @property
    def findings(self) -> list[str]:
        """What moved, a line each."""
        return [one.line() for one in self.moved]

    @property
    def remedy(self) -> str:
        """What to do if it stays so; empty where nothing calls for it."""
        return quantities.REMEDY if self.drift else ""

    @property
    def name(self) -> str:
        """The model, its version and its digest."""
        version = self.package.facts.get("version", "")
        return f"{self.package.name}{version and f' version {version}'} ({self.package.digest[:12]})"

    @property
    def summary(self) -> str:
        """Of how many samples, and how often the answers are right, in one line."""
        said = self.accuracy
        return (f"{self.samples:,} answers by {self.name}, {self.unreadable:,} unreadable; estimated accuracy {said['estimated']:.3f} "
                f"({said['low']:.3f} to {said['high']:.3f}), in validation {said['validation']:.3f}")  # fmt: skip

    def figures(self) -> dict[str, float]:
        """What changes from watch to watch: `brightness_effect`, `brightness_p`, `accuracy_estimated`, `drift` (1 or 0) ..."""
        found = {"drift": int(self.drift), "samples": self.samples, "unreadable": self.unreadable}
        found |= {f"accuracy_{name}": value for name, value in self.accuracy.items()}
        for one in self.comparisons:
            name = one.quantity.replace(" ", "_")
            found |= {f"{name}_effect": one.effect, f"{name}_p": one.corrected}
        return found

    def tags(self) -> dict[str, str]:
        """Of which model it is."""
        version = str(self.package.facts.get("version", ""))
        return {"model": self.package.name, "version": version, "package_sha256": self.package.digest}

    def record(self) -> dict:
        """All of it as JSON takes it."""
        shares = zip(self.package.classes, *self.shares.tolist(), strict=True)
        return self.tags() | {
            "accuracy": self.accuracy, "drift": self.drift, "samples": self.samples, "unreadable": self.unreadable,
            "findings": self.findings, "remedy": self.remedy,
            "comparisons": [vars(one) | {"moved": one.moved} for one in self.comparisons],
            "class_shares": {name: {"validation": was, "estimated": has} for name, was, has in shares},
        }  # fmt: skip

    def gauges(self, file: Path) -> None:
        """Write the figures as node exporter's textfile collector reads them."""
        from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

        registry = CollectorRegistry()
        for name, value in self.figures().items():
            text = "as `darkroom watch` found it"
            Gauge(f"darkroom_watch_{name}", text, list(self.tags()), registry=registry).labels(**self.tags()).set(value)
        write_to_textfile(str(file), registry)

    def send(self) -> None:
        """Log it as a run of its own in MLflow. Raises CannotRun."""
        mlflow = connect()
        client = mlflow.MlflowClient()
        key = self.package.digest[:32] + hashlib.sha256(self.now.features.tobytes()).hexdigest()[:32]

        def send() -> None:
            run = one_run.find_or_make(client, experiment_id(mlflow), WATCH, key, name="watch", tags=self.tags)
            values.log_metrics(client, run, self.figures())
            client.set_tag(run, "verdict", "; ".join(self.findings)[:5000] or "no drift")
            client.set_terminated(run)

        ask(mlflow, send)
