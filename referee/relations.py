"""The relations for people, held against the tables that they are made from.

Tables are held against the log elsewhere; here it is seen that what people query says the same. Pure but for reading.
"""

from collections.abc import Mapping
from typing import Any

import polars as pl

from penstock.metrics import Metric
from referee.compare import Differences, Shape, compare
from referee.metric_tables import PANE_COUNTS, MetricTable
from referee.recompute import LAST_AT, LAST_EVENT_ID
from referee.snapshot import Snapshot

SPANS_MS = {"": 60_000, "_by_hour": 3_600_000, "_by_day": 86_400_000}
"""The relations of a metric by the ending of their names, with the length of their windows."""


def check_metric(table: MetricTable, rows: pl.DataFrame, snapshot: Snapshot, differences: Differences) -> None:
    """Hold the relations of one metric against ``rows``, the table's rows of all partitions."""
    if table.name == PANE_COUNTS:
        return
    metric = table.metric
    measures = tuple(measure.name for measure in metric.measures)
    for ending, span_ms in SPANS_MS.items():
        columns = {
            "window_start_ms": pl.Int64,
            **dict.fromkeys(metric.group, pl.String),
            **dict.fromkeys((*measures, "final"), pl.Int64),
        }
        seen = snapshot.relation(f"{table.name}{ending}", columns)
        key = ("window_start_ms", *metric.group)
        shape = Shape(f"{table.name}{ending} (relation)", key, (*measures, "final"))
        compare(shape, seen, merged(metric, rows, span_ms), differences)


def merged(metric: Metric, rows: pl.DataFrame, span_ms: int) -> pl.DataFrame:
    """Return the windows of ``span_ms`` merged from ``rows``: panes by source partition."""
    if any(measure.aggregate == "last" for measure in metric.measures):
        rows = rows.sort(LAST_AT, LAST_EVENT_ID)
    how = {"count": pl.Expr.sum, "sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max, "last": pl.Expr.last}
    aggregates = [
        how[measure.aggregate](pl.col(measure.name).cast(pl.Int128)).alias(measure.name)
        for measure in metric.measures
    ]
    windows = rows.with_columns(window_start_ms=pl.col("pane") - pl.col("pane") % span_ms)
    keys = ("window_start_ms", *metric.group)
    return windows.group_by(keys, maintain_order=True).agg(*aggregates, pl.col("final").min())


_ORDER = {
    "customer_id": pl.String, "country": pl.String, "status": pl.String, "currency": pl.String, "amount_e4": pl.Int64,
    "placed_at_ms": pl.Int64, "paid_at_ms": pl.Int64, "shipped_at_ms": pl.Int64, "cancelled_at_ms": pl.Int64,
    "method": pl.String, "carrier": pl.String, "cancel_reason": pl.String, "cancelled_e4": pl.Int64,
}  # fmt: skip

_DEVICE = {
    "value_e6": pl.Int64, "unit": pl.String, "reading_at_ms": pl.Int64, "connected_at_ms": pl.Int64,
    "firmware": pl.String, "battery_percent": pl.Int64, "battery_low_at_ms": pl.Int64,
}  # fmt: skip

_ENTITY_RELATIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "orders": (("order_id",), _ORDER),
    "devices": (("device_id", "sensor"), _DEVICE),
}


def check_entity(
    view: str, tables: Mapping[str, pl.DataFrame], snapshot: Snapshot, differences: Differences
) -> None:
    """Hold the relation of an entity view, if there is one, against its ``tables``, by name."""
    if view not in _ENTITY_RELATIONS:
        return
    key, columns = _ENTITY_RELATIONS[view]
    seen = snapshot.relation(view, {**dict.fromkeys(key, pl.String), **columns})
    expected = orders(tables["orders"]) if view == "orders" else devices(tables["devices"], tables["device_readings"])
    compare(Shape(f"{view} (relation)", key, tuple(columns)), seen, expected, differences)


def orders(table: pl.DataFrame) -> pl.DataFrame:
    """Return the relation ``orders``: the status by rank, and of an order never placed what its cancellation says."""
    unplaced = pl.col("placed_at").is_null()
    ranks = (("cancelled", "cancelled_at"), ("shipped", "shipped_at"), ("paid", "paid_at"))
    status = pl.lit("placed")
    for name, column in reversed(ranks):
        status = pl.when(pl.col(column).is_not_null()).then(pl.lit(name)).otherwise(status)
    either = {"country": "cancelled_country", "currency": "cancelled_currency", "amount_e4": "cancelled_e4"}
    return table.with_columns(
        *(pl.when(unplaced).then(pl.col(b)).otherwise(pl.col(a)).alias(a) for a, b in either.items()),
        *(pl.col(f"{event}_at").alias(f"{event}_at_ms") for event in ("placed", "paid", "shipped", "cancelled")),
        status=status,
    ).select("order_id", *_ORDER)


def devices(table: pl.DataFrame, readings: pl.DataFrame) -> pl.DataFrame:
    """Return the relation ``devices``: a row a device and sensor, or one without a sensor."""
    joined = table.join(readings, on="device_id", how="full", coalesce=True)
    times = {name: f"{name}_ms" for name in ("reading_at", "connected_at", "battery_low_at")}
    return joined.rename(times).select("device_id", "sensor", *_DEVICE)
