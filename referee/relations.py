"""The relations for people, held against the tables that they are made from.

Tables are held against the log elsewhere; here it is seen that what people query says the same. Pure but for reading.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.metrics import Metric
from referee.compare import Differences, Shape, compare
from referee.metric_tables import PANE_COUNTS, MetricTable
from referee.recompute import LAST_AT, LAST_EVENT_ID
from referee.sketches import group_types, relation_columns, relation_of
from referee.snapshot import Snapshot, at_least
from referee.streams import RowStream

SPANS_MS = {"": 60_000, "_by_hour": 3_600_000, "_by_day": 86_400_000}
"""The relations of a metric by the ending of their names, with the length of their windows."""


def check_metric(table: MetricTable, snapshot: Snapshot, since_ms: int | None, differences: Differences) -> None:
    """Hold the relations of one metric against the table's rows of all partitions, in the order of time.

    ``since_ms``: windows that start before it are left out.
    """
    if table.name == PANE_COUNTS:
        return
    windows = [_Windows(table, ending, span_ms, snapshot, since_ms) for ending, span_ms in SPANS_MS.items()]
    panes = table.stream(snapshot, at_least("window_start", since_ms))
    for part in panes.below(None):
        for each in windows:
            each.add(part.rows, differences)
    for each in windows:
        each.end(differences)


class _Windows:
    """One relation of a metric, and the windows merged from the table as far as it has been read."""

    def __init__(
        self, table: MetricTable, ending: str, span_ms: int, snapshot: Snapshot, since_ms: int | None
    ) -> None:
        self._metric = metric = table.metric
        self._span_ms = span_ms
        self._from_ms = None if since_ms is None else -(-since_ms // span_ms) * span_ms
        group, measures = relation_columns(metric)
        key = ("window_start_ms", *group)
        name = f"{table.name}{ending}"
        self._shape = Shape(f"{name} (relation)", key, (*measures, "final"))
        groups = {name: kind for name, kind in group_types(metric).items() if name in group}
        self._schema = {"window_start_ms": pl.Int64, **groups, **dict.fromkeys((*measures, "final"), pl.Int64)}
        where = at_least("window_start_ms", self._from_ms)
        self._stream = RowStream(snapshot, name, self._schema, "window_start_ms", where)
        self._open: pl.DataFrame | None = None

    def add(self, panes: pl.DataFrame, differences: Differences) -> None:
        """Merge some more rows of the table, and compare the windows that lie behind them."""
        start = pl.col("window_start") - pl.col("window_start") % self._span_ms
        rows = panes.with_columns(window_start_ms=start).drop("window_start")
        if self._from_ms is not None:
            rows = rows.filter(pl.col("window_start_ms") >= self._from_ms)
        if rows.is_empty():
            return
        if self._open is not None:
            rows = pl.concat([self._open, rows], how="diagonal_relaxed")
        merged = merge(self._metric, rows)
        self._open = merged
        newest_ms = merged["window_start_ms"].max()
        if isinstance(newest_ms, int):
            behind = pl.col("window_start_ms") < newest_ms
            done = merged.filter(behind)
            if len(done):
                self._open = merged.filter(~behind | behind.is_null())
                self._stream.compare(self._shape, newest_ms, relation_of(self._metric, done), differences)

    def end(self, differences: Differences) -> None:
        """Compare the windows that are left."""
        left = pl.DataFrame(schema=self._schema) if self._open is None else relation_of(self._metric, self._open)
        self._stream.compare(self._shape, None, left, differences)


def merge(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    """Return windows (``window_start_ms``) merged from ``rows``: panes by source partition, or windows in part."""
    last = [measure for measure in metric.measures if measure.aggregate == "last"]
    if last:
        rows = rows.sort(LAST_AT, LAST_EVENT_ID)
    how = {"count": pl.Expr.sum, "sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max, "last": pl.Expr.last}
    aggregates = [
        how[measure.aggregate](pl.col(measure.name).cast(pl.Int128)).alias(measure.name)
        for measure in metric.measures
    ]
    if last:
        aggregates += [pl.col(LAST_AT).last(), pl.col(LAST_EVENT_ID).last()]
    keys = ("window_start_ms", *metric.group)
    return rows.group_by(keys, maintain_order=True).agg(*aggregates, pl.col("final").min())


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


@dataclass(frozen=True)
class EntityRelation:
    """The relation of an entity view: its key, and its other columns with their types."""

    view: str
    key: tuple[str, ...]
    columns: Mapping[str, Any]
    made_from: Callable[[Mapping[str, pl.DataFrame]], pl.DataFrame]

    @property
    def schema(self) -> dict[str, Any]:
        """All columns with their types."""
        return {**dict.fromkeys(self.key, pl.String), **self.columns}

    def batches(self, snapshot: Snapshot) -> Iterator[pl.DataFrame]:
        """Yield the relation's rows, a batch at a time."""
        return snapshot.batches(self.view, self.schema)

    def check(self, seen: pl.DataFrame, tables: Mapping[str, pl.DataFrame], differences: Differences) -> None:
        """Hold rows of the relation against those of the view's ``tables``, by name, with the same keys."""
        shape = Shape(f"{self.view} (relation)", self.key, tuple(self.columns))
        compare(shape, seen, self.made_from(tables), differences)


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


ENTITY_RELATIONS = {
    "orders": EntityRelation("orders", ("order_id",), _ORDER, lambda tables: orders(tables["orders"])),
    "devices": EntityRelation(
        "devices", ("device_id", "sensor"), _DEVICE,
        lambda tables: devices(tables["devices"], tables["device_readings"]),
    ),
}  # fmt: skip
"""By view. The first column of a key is the first of the key of each table that it is made from."""
