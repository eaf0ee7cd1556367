"""Where each metric's results stand in the view database, and how they are held against the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from penstock.metrics import METRICS, Metric
from referee.compare import Differences, Shape, compare, places_text
from referee.panes import ClosedPanes
from referee.recompute import LAST_EVENT_ID, contributions_of, fold_at, measure_columns
from referee.sketches import group_types
from referee.snapshot import Snapshot, Where, below, equal, none_of
from referee.source import Source
from referee.streams import RowStream

PANE_COUNTS = "pane_counts"
_BOOKKEEPING = ("final", "next_offset")


@dataclass(frozen=True)
class MetricTable:
    """The table of one metric: a row a pane, group and source partition. All pane counts share one."""

    metric: Metric

    @property
    def name(self) -> str:
        """Name of the table."""
        return PANE_COUNTS if self.metric.result == "PaneCounted" else self.metric.name

    @property
    def view(self) -> str:
        """Name of the view, which is its table's."""
        return self.name

    @property
    def topics(self) -> tuple[str, str]:
        """The logical topics that the view reads for this metric."""
        return self.metric.results, f"{self.metric.results}-final"

    @property
    def columns(self) -> dict[str, Any]:
        """The table's columns besides its place's, with their types."""
        measures = {
            name: pl.String if name == LAST_EVENT_ID else pl.Int64 for name in measure_columns(self.metric)
        }
        numbers = dict.fromkeys(_BOOKKEEPING, pl.Int64)
        return {"window_start": pl.Int64, **group_types(self.metric), **numbers, **measures}

    def place(self, partition: int) -> dict[str, Any]:
        """Return the columns and values that choose the rows of one source partition."""
        topic = {"source_topic": self.metric.topic} if self.name == PANE_COUNTS else {}
        return {**topic, "source_partition": partition}

    def at(self, partition: int) -> Where:
        """Return the condition on the rows of one source partition."""
        return equal(self.place(partition))

    def reached(self, snapshot: Snapshot, partition: int) -> int:
        """Return the largest offset up to which a row of one source partition is folded; 0 without rows."""
        return snapshot.largest(snapshot.table_name(self.name), "next_offset", self.at(partition)) or 0

    def stream(self, snapshot: Snapshot, where: Where) -> RowStream:
        """Return the rows that meet a condition, by pane; the pane's start is ``window_start``."""
        return RowStream(snapshot, snapshot.table_name(self.name), self.columns, "window_start", where)

    def count_before(self, snapshot: Snapshot, partition: int, pane_ms: int) -> int:
        """Return how many rows of one source partition are of panes that start before ``pane_ms``."""
        return snapshot.count(snapshot.table_name(self.name), self.at(partition) & below("window_start", pane_ms))


TABLES = tuple(MetricTable(metric) for metric in METRICS)


def check(
    table: MetricTable, stream: RowStream, closed: ClosedPanes, source: Source, differences: Differences
) -> None:
    """Hold the next rows of one source partition, those of ``closed``, against their events."""
    metric, place = table.metric, table.place(source.partition)
    key = (*place, "window_start", *metric.group)
    shape = Shape(table.view, key, (*_BOOKKEEPING, *measure_columns(metric)))
    placed = [pl.lit(value).alias(name) for name, value in place.items()]
    events = contributions_of(metric, closed.log, closed.applied)
    for part in stream.below(closed.until_ms):
        rows, own = part.rows.rename({"window_start": "pane"}), part.of(events, "pane")
        expected = _with_bookkeeping(metric, fold_at(metric, own, rows), rows, closed, source)
        ours, logs = (frame.rename({"pane": "window_start"}).with_columns(placed) for frame in (rows, expected))
        compare(shape, ours, logs, differences, partial(_trace, metric, own, source))


def _trace(metric: Metric, events: pl.DataFrame, source: Source, keys: pl.DataFrame, _: str) -> list[str]:
    """Return the offsets of the applied events behind each of ``keys``."""
    named = keys.select(pl.col("window_start").alias("pane"), *metric.group).with_row_index("_row")
    found = named.join(events, on=["pane", *metric.group], how="inner", nulls_equal=True)
    offsets = dict(found.group_by("_row").agg(pl.col("offset").unique().sort()).iter_rows())
    return [places_text(source.topic, source.partition, offsets.get(row, ())) for row in range(len(keys))]


def _with_bookkeeping(
    metric: Metric, expected: pl.DataFrame, seen: pl.DataFrame, closed: ClosedPanes, source: Source
) -> pl.DataFrame:
    """Add to ``expected`` what ``final`` and ``next_offset`` may be, and which rows are ``required``.

    A row must be there, and be final, if its pane ended below the processor's position. Any other may say so too,
    as soon as its pane had ended at the offset that it was sent at. No row can be of an offset that the log does
    not have, and no final row of one before its pane ended.
    """
    keys = ["pane", *metric.group]
    joined = expected.join(seen.select(*keys, *_BOOKKEEPING), on=keys, how="left")
    closes_at = closed.closes_at(joined["pane"]).alias("_closes_at")
    final_by_then = (pl.col("_closes_at") <= pl.col("next_offset")).fill_null(value=False)
    said_final = pl.col("final") == 1
    lowest = pl.when(said_final & pl.col("required")).then(pl.col("_closes_at")).otherwise(0)
    return (
        joined.with_columns(closes_at)
        .with_columns(required=(pl.col("_closes_at") <= source.position).fill_null(value=False))
        .with_columns(
            final=(pl.col("required") | (said_final & final_by_then)).cast(pl.Int64),
            next_offset=pl.col("next_offset").clip(lowest, source.log_end),
        )
        .drop("_closes_at")
    )


def check_strays(
    table: MetricTable, snapshot: Snapshot, places: Sequence[Mapping[str, Any]], differences: Differences
) -> None:
    """Add a difference for each row of a table that is of no partition in ``places``."""
    key = {name: pl.Int64 if name == "source_partition" else pl.String for name in places[0]}
    columns = {**key, "window_start": pl.Int64, **group_types(table.metric)}
    if table.name == PANE_COUNTS:
        columns = {**key, "window_start": pl.Int64}
    for found in snapshot.batches(snapshot.table_name(table.name), columns, none_of(places)):
        compare(Shape(table.view, tuple(columns), ()), found, found.clear(), differences)
