"""Where each metric's results stand in the view database, and how they are held against the log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.metrics import METRICS, Metric
from referee.compare import Differences, Shape, compare
from referee.recompute import LAST_EVENT_ID, contributions, fold_at, measure_columns
from referee.snapshot import Snapshot
from referee.source import Source

PANE_COUNTS = "pane_counts"
_BOOKKEEPING = ("final", "next_offset")


@dataclass(frozen=True)
class MetricTable:
    """The table of one metric: a row a pane, group and source partition. All pane counts share one."""

    metric: Metric

    @property
    def name(self) -> str:
        """Name of the table, and of its view."""
        return PANE_COUNTS if self.metric.result == "PaneCounted" else self.metric.name

    @property
    def topics(self) -> tuple[str, str]:
        """The logical topics that the view reads for this metric."""
        return self.metric.results, f"{self.metric.results}-final"

    @property
    def columns(self) -> dict[str, Any]:
        """The table's columns besides its place's, with their types."""
        texts = dict.fromkeys(self.metric.group, pl.String)
        measures = {
            name: pl.String if name == LAST_EVENT_ID else pl.Int64 for name in measure_columns(self.metric)
        }
        return {"window_start": pl.Int64, **texts, **dict.fromkeys(_BOOKKEEPING, pl.Int64), **measures}

    def place(self, partition: int) -> dict[str, Any]:
        """Return the columns and values that choose the rows of one source partition."""
        topic = {"source_topic": self.metric.topic} if self.name == PANE_COUNTS else {}
        return {**topic, "source_partition": partition}

    def seen(self, snapshot: Snapshot, partition: int) -> pl.DataFrame:
        """Return the rows of one source partition; the pane's start is ``pane``."""
        return snapshot.table(self.name, self.columns, self.place(partition)).rename({"window_start": "pane"})


TABLES = tuple(MetricTable(metric) for metric in METRICS)


def check(table: MetricTable, seen: pl.DataFrame, source: Source, differences: Differences) -> int:
    """Hold the rows of one source partition against its log; return how many rows were compared."""
    metric, place = table.metric, table.place(source.partition)
    expected = fold_at(metric, contributions(metric, source.log, source.settled), seen)
    if source.whole_from_ms is not None:
        whole = pl.col("pane") >= source.whole_from_ms
        seen, expected = seen.filter(whole), expected.filter(whole)
    expected = _with_bookkeeping(metric, expected, seen, source)
    key = (*place, "window_start", *metric.group)
    shape = Shape(table.name, key, (*_BOOKKEEPING, *measure_columns(metric)))
    placed = [pl.lit(value).alias(name) for name, value in place.items()]
    ours, logs = (frame.rename({"pane": "window_start"}).with_columns(placed) for frame in (seen, expected))
    compare(shape, ours, logs, differences)
    return len(seen)


def _with_bookkeeping(metric: Metric, expected: pl.DataFrame, seen: pl.DataFrame, source: Source) -> pl.DataFrame:
    """Add to ``expected`` what ``final`` and ``next_offset`` may be, and which rows are ``required``.

    A row must be there, and be final, if its pane ended below the processor's position. Any other may say so too,
    as soon as its pane had ended at the offset that it was sent at. No row can be of an offset that the log does
    not have, and no final row of one before its pane ended.
    """
    keys = ["pane", *metric.group]
    joined = expected.join(seen.select(*keys, *_BOOKKEEPING), on=keys, how="left")
    closes_at = source.settled.closes_at(joined["pane"]).alias("_closes_at")
    closed = (pl.col("_closes_at") <= pl.col("next_offset")).fill_null(value=False)
    said_final = pl.col("final") == 1
    lowest = pl.when(said_final & pl.col("required")).then(pl.col("_closes_at")).otherwise(0)
    return (
        joined.with_columns(closes_at)
        .with_columns(required=(pl.col("_closes_at") <= source.position).fill_null(value=False))
        .with_columns(
            final=(pl.col("required") | (said_final & closed)).cast(pl.Int64),
            next_offset=pl.col("next_offset").clip(lowest, source.log_end),
        )
        .drop("_closes_at")
    )


def check_strays(
    table: MetricTable, snapshot: Snapshot, places: Sequence[Mapping[str, Any]], differences: Differences
) -> None:
    """Add a difference for each row of a table that is of no partition in ``places``."""
    key = {name: pl.Int64 if name == "source_partition" else pl.String for name in places[0]}
    columns = {**key, "window_start": pl.Int64, **dict.fromkeys(table.metric.group, pl.String)}
    if table.name == PANE_COUNTS:
        columns = {**key, "window_start": pl.Int64}
    found = snapshot.strays(table.name, columns, places)
    compare(Shape(table.name, tuple(columns), ()), found, found.clear(), differences)
