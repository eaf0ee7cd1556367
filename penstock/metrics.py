"""The declarations of the metrics: what is measured, never how.

How a metric is folded, stored or checked is each stage's own business; they agree on these lines. A new metric
is one :class:`Metric` in :data:`METRICS`, the ``.avsc`` of its result, and the ``.sql`` of its view.

A measure reads a *source*: a record's name (``OrderPlaced``), or the items of its array (``OrderPlaced.items``,
whose rows also have the record's own columns). Columns have the codec's names: decimals and readings are
integers with their scale behind (``amount_e4``, ``value_e6``).
"""

from dataclasses import dataclass
from typing import Literal

Aggregate = Literal["count", "sum", "min", "max", "last"]


@dataclass(frozen=True)
class Measure:
    """One number of a metric; each merges with itself in any order, to the same bits.

    ``last`` is the column of the newest record by (``occurred_at``, ``event_id``) and brings those two along
    as ``last_at`` and ``last_event_id``. ``times`` names a column to multiply with before a sum.
    ``source`` ``*`` counts every applied event of the topic.
    """

    name: str
    aggregate: Aggregate
    source: str
    column: str = ""
    times: str = ""


@dataclass(frozen=True)
class Metric:
    """Measures by pane and group. ``result`` is the contract of its rows, sent to ``results`` and, when the
    pane is final, to ``{results}-final``. ``group`` names columns that all of its sources have; a group column of
    free text comes last."""

    name: str
    topic: str
    result: str
    results: str
    group: tuple[str, ...]
    measures: tuple[Measure, ...]


METRICS = (
    Metric(
        "order_metrics", "orders", "OrderMetrics", "order-metrics", ("country",),
        (
            Measure("orders", "count", "OrderPlaced"),
            Measure("revenue_e4", "sum", "OrderPlaced", "amount_e4"),
            Measure("largest_order_e4", "max", "OrderPlaced", "amount_e4"),
            Measure("units", "sum", "OrderPlaced.items", "quantity"),
            Measure("cancellations", "count", "OrderCancelled"),
            Measure("cancelled_e4", "sum", "OrderCancelled", "amount_e4"),
        ),
    ),
    Metric(
        "product_sales", "orders", "ProductSales", "order-metrics", ("sku",),
        (
            Measure("units", "sum", "OrderPlaced.items", "quantity"),
            Measure("revenue_e4", "sum", "OrderPlaced.items", "quantity", times="unit_price_e4"),
        ),
    ),
    Metric(
        "telemetry_metrics", "telemetry", "TelemetryMetrics", "telemetry-metrics", ("sensor", "device_id"),
        (
            Measure("readings", "count", "ReadingTaken"),
            Measure("sum_e6", "sum", "ReadingTaken", "value_e6"),
            Measure("min_e6", "min", "ReadingTaken", "value_e6"),
            Measure("max_e6", "max", "ReadingTaken", "value_e6"),
            Measure("last_e6", "last", "ReadingTaken", "value_e6"),
        ),
    ),
    Metric("order_panes", "orders", "PaneCounted", "order-metrics", (), (Measure("applied", "count", "*"),)),
    Metric(
        "telemetry_panes", "telemetry", "PaneCounted", "telemetry-metrics", (),
        (Measure("applied", "count", "*"),),
    ),
)  # fmt: skip


def metrics_of(topic: str) -> tuple[Metric, ...]:
    """Return the metrics that are folded from ``topic`` (its logical name)."""
    return tuple(metric for metric in METRICS if metric.topic == topic)
