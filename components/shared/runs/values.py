"""Knobs and metrics as MLflow takes them: one name, one value."""

import json
import math
import time

BATCH = 100  # parameters that MLflow takes at once


def flat(knobs: dict) -> dict[str, str]:
    """`{"augment": {"shift": 0.1}, "seed": 7}` -> `{"augment.shift": "0.1", "seed": "7"}`.

    Sections become dotted names; what lies deeper (the severities of all findings) is one value of JSON. Both architectures
    have the same names, so that they line up in a comparison.
    """
    rows = {}
    for section, values in knobs.items():
        if isinstance(values, dict):
            rows |= {f"{section}.{name}": as_text(value) for name, value in values.items()}
        else:
            rows[section] = as_text(values)
    return rows


def log_knobs(client, run_id: str, knobs: dict) -> None:
    """Log knobs as parameters of a run; those that it has already stay."""
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in flat(knobs).items()]
    for start in range(0, len(params), BATCH):
        client.log_batch(run_id, params=params[start : start + BATCH])


def knobs_of(record: dict) -> dict:
    """All knobs behind a model, out of the run.json that train wrote, and its size."""
    return record["knobs"] | {name: record[name] for name in ("parameters", "training_samples") if name in record}


def finite(metrics: dict) -> dict[str, float | int]:
    """The metrics that a server takes: numbers, no NaN, no infinity."""
    return {name: value for name, value in metrics.items()
            if isinstance(value, int | float) and math.isfinite(value)}  # fmt: skip


def log_metrics(client, run_id: str, metrics: dict) -> None:
    """With a step each time they are sent: MLflow shows the highest, and clocks may be wrong."""
    from mlflow.entities import Metric

    numbers = finite(metrics)
    step, now = len(client.get_metric_history(run_id, next(iter(numbers)))) if numbers else 0, int(1000 * time.time())
    client.log_batch(run_id, metrics=[Metric(name, float(value), now, step) for name, value in numbers.items()])


def as_text(value: object) -> str:
    """A knob's value: a text as it is, all else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
