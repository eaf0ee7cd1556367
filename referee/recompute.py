"""Metrics recomputed from the log, by their declarations: one aggregation over all events of whole panes.

A metric's applied events become *contributions*: a row an event (or item), with a column a measure; one
``group_by`` over them is the metric. Sums are 128 bits wide, so they can't wrap.
"""

from collections.abc import Sequence

import polars as pl

from penstock.metrics import Measure, Metric
from referee.fates import Settled
from referee.log import PartitionLog
from referee.sketches import group_types, with_sketch

LAST_AT, LAST_EVENT_ID = "last_at", "last_event_id"


def measure_columns(metric: Metric) -> tuple[str, ...]:
    """Return the names of the columns that a result of ``metric`` has besides pane and group."""
    names = [measure.name for measure in metric.measures]
    if any(measure.aggregate == "last" for measure in metric.measures):
        names += [LAST_AT, LAST_EVENT_ID]
    return tuple(names)


APPLIED = ("offset", "pane", "occurred_at", "event_id")
"""Columns of the applied events."""


def contributions(metric: Metric, log: PartitionLog, settled: Settled) -> pl.DataFrame:
    """Return what each applied event of a whole log adds to ``metric``: see :func:`contributions_of`."""
    return contributions_of(metric, log, settled.of("applied").select(APPLIED))


def contributions_of(metric: Metric, log: PartitionLog, applied: pl.DataFrame) -> pl.DataFrame:
    """Return what each of ``applied``, events of ``log``, adds to ``metric``.

    Columns: ``offset``, ``pane``, ``occurred_at``, ``event_id``, the group's, and one by measure, null where
    the event's source does not have it.
    """
    sources = dict.fromkeys(measure.source for measure in metric.measures)
    return pl.concat([_of_source(metric, source, log, applied) for source in sources], how="diagonal")


def _of_source(metric: Metric, source: str, log: PartitionLog, applied: pl.DataFrame) -> pl.DataFrame:
    rows = _rows(source, log, applied)
    measures = [measure for measure in metric.measures if measure.source == source]
    if rows is None:
        read = (name for measure in measures for name in (measure.column, measure.times) if name)
        absent = dict.fromkeys((*metric.group, *read))
        rows = applied.clear().with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
    else:
        rows = with_sketch(metric, rows)
    groups = (pl.col(name).cast(kind) for name, kind in group_types(metric).items())
    values = (_value(measure).alias(measure.name) for measure in measures)
    return rows.select("offset", "pane", "occurred_at", "event_id", *groups, *values)


def _rows(source: str, log: PartitionLog, applied: pl.DataFrame) -> pl.DataFrame | None:
    """Return the applied rows of a measure's source, with their panes; None when the log has none of them."""
    if source == "*":
        return applied
    record, _, array = source.partition(".")
    own = log.records.get(record)
    if own is None:
        return None
    placed = own.drop("event_id", "occurred_at", strict=False).join(applied, on="offset", how="inner")
    if not array:
        return placed
    items = log.items.get(source)
    if items is None:
        return None
    shared = [name for name in placed.columns if name == "offset" or name not in items.columns]
    return items.join(placed.select(shared), on="offset", how="inner")


def _value(measure: Measure) -> pl.Expr:
    """Return what one event adds to a measure."""
    if measure.aggregate == "count":
        return pl.lit(1, dtype=pl.Int128)
    if measure.aggregate == "sum":
        value = pl.col(measure.column).cast(pl.Int128)
        return value * pl.col(measure.times).cast(pl.Int128) if measure.times else value
    return pl.col(measure.column).cast(pl.Int64)


def fold(metric: Metric, events: pl.DataFrame) -> pl.DataFrame:
    """Return ``metric`` by pane and group from its :func:`contributions`, a row each, in no order.

    Counts and sums without an event are 0, the other measures null.
    """
    last = [measure for measure in metric.measures if measure.aggregate == "last"]
    if last:
        events = events.sort("occurred_at", "event_id")
    aggregates = [_aggregate(measure) for measure in metric.measures]
    for measure in last[:1]:
        has = pl.col(measure.name).is_not_null()
        aggregates += [
            pl.col("occurred_at").filter(has).last().alias(LAST_AT),
            pl.col("event_id").filter(has).last().alias(LAST_EVENT_ID),
        ]
    return events.group_by("pane", *metric.group, maintain_order=bool(last)).agg(aggregates)


def _aggregate(measure: Measure) -> pl.Expr:
    column = pl.col(measure.name)
    if measure.aggregate in ("count", "sum"):
        return column.sum()
    if measure.aggregate == "min":
        return column.min()
    return column.max() if measure.aggregate == "max" else column.drop_nulls().last()


def fold_at(metric: Metric, events: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``metric`` by pane and group, each folded from the events below its ``next_offset`` in ``rows``.

    ``rows``: ``pane``, the group's columns, ``next_offset``; groups that it does not have are folded whole.
    Groups without an event below their offset are not in the result.
    """
    keys: Sequence[str] = ("pane", *metric.group)
    known = events.join(rows.select(*keys, "next_offset"), on=keys, how="left")
    below = pl.col("next_offset").is_null() | (pl.col("offset") < pl.col("next_offset"))
    return fold(metric, known.filter(below).drop("next_offset"))
