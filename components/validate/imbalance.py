"""Great Expectations has no word for class imbalance: this is it, with the metric that it rests on."""

from typing import Any, ClassVar

import pandas as pd
from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation
from great_expectations.expectations.metrics import ColumnAggregateMetricProvider, column_aggregate_value


def imbalance_ratio(labels: pd.Series) -> float:
    """Samples of the largest class / samples of the smallest; 1.0 is balanced, infinity when there are none."""
    counts = labels.value_counts()
    return float(counts.max() / counts.min()) if len(counts) else float("inf")


class ColumnImbalanceRatio(ColumnAggregateMetricProvider):
    """The metric `column.imbalance_ratio`, on pandas."""

    metric_name = "column.imbalance_ratio"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column: pd.Series, **_: Any) -> float:  # noqa: N805 (Great Expectations calls it with the class)
        return imbalance_ratio(column)


class ExpectColumnClassImbalanceToBeAtMost(ColumnAggregateExpectation):
    """Expect the largest class to have at most `max_ratio` times the samples of the smallest."""

    max_ratio: float
    metric_dependencies: ClassVar = ("column.imbalance_ratio",)
    success_keys: ClassVar = ("max_ratio",)

    def _validate(self, metrics: dict, runtime_configuration: dict | None = None, execution_engine: Any = None) -> dict:
        ratio = metrics["column.imbalance_ratio"]
        return {"success": bool(ratio <= self.max_ratio), "result": {"observed_value": round(ratio, 2)}}
