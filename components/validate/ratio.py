"""An expectation of our own: how uneven the classes of a column may be."""

from typing import Any, ClassVar

from great_expectations.execution_engine import PandasExecutionEngine
from great_expectations.expectations.expectation import ColumnAggregateExpectation
from great_expectations.expectations.metrics import ColumnAggregateMetricProvider, column_aggregate_value


class ColumnClassRatio(ColumnAggregateMetricProvider):
    """Values of the most frequent kind / values of the rarest; nulls do not count, infinity without any value."""

    metric_name = "column.class_ratio"

    @column_aggregate_value(engine=PandasExecutionEngine)
    def _pandas(cls, column, **_: Any) -> float:  # noqa: N805  # the library makes it a class method
        counts = column.value_counts()
        return float(counts.max() / counts.min()) if len(counts) else float("inf")


class ExpectColumnClassRatioToBeAtMost(ColumnAggregateExpectation):
    """Expect the most frequent value of a column to be at most `max_ratio` times as frequent as the rarest."""

    max_ratio: float

    metric_dependencies: ClassVar = ("column.class_ratio",)
    success_keys: ClassVar = ("max_ratio",)

    def _validate(self, metrics: dict, runtime_configuration: Any = None, execution_engine: Any = None) -> dict:
        ratio = metrics["column.class_ratio"]
        return {"success": ratio <= self._get_success_kwargs()["max_ratio"], "result": {"observed_value": ratio}}
