"""What a watch found, and how others take it: a record, metrics of MLflow, gauges of Prometheus."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.models.package import Package
from components.shared.runs import one_run, values
from components.shared.runs.connection import ask, connect, experiment_id
from components.watch import answered, quantities
from components.watch.answered import Side
from components.watch.class_shares import Accuracy, ClassShares, accuracy, class_shares
from components.watch.quantities import Comparison

WATCH = "darkroom.watch"  # the run of a watch; the same answers by the same package are one run


@dataclass(frozen=True)
class Outcome:
    """`before`: validation, `now`: the answers; `samples`: that were looked at, `unreadable`: of them."""

    package: Package
    before: Side
    now: Side
    samples: int
    unreadable: int
    comparisons: list[Comparison]
    shares: ClassShares
    accuracy: Accuracy

    @classmethod
    def of(cls, answers: Sequence[Path], package: Package) -> "Outcome":
        """Compare answers with the validation data of the package that gave them. Raises CannotRun."""
        before, labels = answered.validation(package)
        now, samples, unreadable = answered.answers(answers, package)
        shares, right = class_shares(before, labels, now), accuracy(before, labels, now)
        comparisons = quantities.compared(
            before, now, package.classes, package.calibration, shares=shares, accuracy=right, samples=samples, unreadable=unreadable
        )  # fmt: skip
        return cls(package, before, now, samples, unreadable, comparisons, shares, right)

    @property
    def moved(self) -> list[Comparison]:
        """What calls for a new training."""
        return [one for one in self.comparisons if one.moved]

    @property
    def summary(self) -> str:
        """Of how many samples, and how often the answers are right, in one line."""
        said = self.accuracy
        return (f"{self.samples:,} answers by {self.name}, {self.unreadable:,} unreadable; estimated accuracy {said.now:.3f} "
                f"({said.low:.3f} to {said.high:.3f}), in validation {said.before:.3f}")  # fmt: skip

    @property
    def version(self) -> str:
        """The number in the registry; empty for a folder."""
        return str(self.package.facts.get("version", ""))

    @property
    def name(self) -> str:
        """The model, its version and its digest."""
        return f"{self.package.name}{self.version and f' version {self.version}'} ({self.package.digest[:12]})"

    def record(self) -> dict:
        """All of it as JSON takes it."""
        shares = zip(self.package.classes, self.shares.before.tolist(), self.shares.now.tolist(), strict=True)
        return {
            "accuracy": vars(self.accuracy), "drift": bool(self.moved), "samples": self.samples, "unreadable": self.unreadable,
            "model": self.package.name, "version": self.version, "package": self.package.digest,
            "findings": [one.line() for one in self.moved],
            "comparisons": [vars(one) | {"moved": one.moved} for one in self.comparisons],
            "class_shares": {name: {"validation": was, "estimated": has} for name, was, has in shares},
        }  # fmt: skip

    def gauges(self, file: Path) -> None:
        """Write them as node exporter's textfile collector reads them."""
        from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

        registry = CollectorRegistry()
        labels = {"model": self.package.name, "version": self.version}

        def gauge(name: str, text: str, rows: dict, label: str = "") -> None:
            made = Gauge(f"darkroom_watch_{name}", text, [*labels, *([label] if label else [])], registry=registry)
            for key, value in rows.items():
                made.labels(**labels, **({label: key} if label else {})).set(value)

        gauge("drift", "1 when it calls for a new training", {"": bool(self.moved)})
        gauge("answers", "answers that were looked at", {"": self.samples})
        gauge("accuracy", "of validation, and of the answers as estimated, with its interval", vars(self.accuracy), "of")
        gauge("effect", "how far it moved", {one.quantity: one.effect for one in self.comparisons}, "quantity")
        gauge("p_value", "corrected by Holm", {one.quantity: one.corrected for one in self.comparisons}, "quantity")
        gauge("class_share", "as estimated", dict(zip(self.package.classes, self.shares.now, strict=True)), "label")
        write_to_textfile(str(file), registry)

    def send(self) -> None:
        """Log it as a run of its own in MLflow. Raises CannotRun."""
        mlflow = connect()
        client = mlflow.MlflowClient()
        key = self.package.digest[:32] + hashlib.sha256(self.now.features.tobytes()).hexdigest()[:32]
        tags = {"model": self.package.name, "version": self.version, "package_sha256": self.package.digest}
        metrics = {"drift": int(bool(self.moved)), "samples": self.samples, "unreadable": self.unreadable}
        metrics |= {f"estimated_accuracy_{name}": value for name, value in vars(self.accuracy).items()}
        for one in self.comparisons:
            name = one.quantity.replace(" ", "_")
            metrics |= {f"{name}_effect": one.effect, f"{name}_p": one.corrected}

        def send() -> None:
            run = one_run.find_or_make(client, experiment_id(mlflow), WATCH, key, name="watch", tags=lambda: tags)
            values.log_metrics(client, run, metrics)
            client.set_tag(run, "verdict", "; ".join(one.line() for one in self.moved)[:5000] or "no drift")
            client.set_terminated(run)

        ask(mlflow, send)
