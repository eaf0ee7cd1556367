"""Folding one metric: partial aggregates by pane and group, which merge in any order and to the same bits."""

from collections.abc import Mapping

import polars as pl

from penstock.avro import INDEX
from penstock.errors import ProtectiveStop
from penstock.metrics import Measure, Metric
from penstock.pipeline import PANE_MS
from processors.fates import PANE
from processors.sketches import with_sketch

DIRTY = "_dirty"
_DIRTY_ONCE = pl.Series(DIRTY, [True])
_LIMIT = 1 << 63
_MONEY_LIMIT = 10**18
"""Sums of money are decimals of 18 digits in the results' contracts: a reader could not read more."""


def partial(metric: Metric, sources: Mapping[str, pl.DataFrame]) -> pl.DataFrame | None:
    """Return the partial aggregates of a batch: a row a pane and group, or None without any.

    ``sources`` holds the applied rows by source (``OrderPlaced``, ``OrderPlaced.items``, ``*``), each with ``_pane``.
    """
    keys = (PANE, *metric.group)
    frames = []
    for source in dict.fromkeys(measure.source for measure in metric.measures):
        rows = sources.get(source)
        if rows is None or rows.is_empty():
            continue
        if metric.sketch is not None:
            rows = with_sketch(metric, rows)
        measures = [measure for measure in metric.measures if measure.source == source]
        if any(measure.aggregate == "last" for measure in measures):
            rows = rows.sort("occurred_at", "event_id")
        frames.append(rows.group_by(keys).agg(*(e for m in measures for e in _first(m))))
    if not frames:
        return None
    if len(frames) == 1:
        return _complete(metric, frames[0])
    return merge(metric, [_complete(metric, frame) for frame in frames])


def merge(metric: Metric, partials: list[pl.DataFrame]) -> pl.DataFrame:
    """Merge partial aggregates; a row a pane and group, in no order."""
    rows = pl.concat(partials)
    if any(measure.aggregate == "last" for measure in metric.measures):
        rows = rows.sort("last_at", "last_event_id", nulls_last=False)
    measures = [expression for measure in metric.measures for expression in _again(measure)]
    dirty = [pl.col(DIRTY).any()] if DIRTY in rows.columns else []
    return rows.group_by(PANE, *metric.group).agg(*measures, *dirty)


def _first(measure: Measure) -> list[pl.Expr]:
    """Return how to take a measure from events."""
    column = pl.col(measure.column)
    if measure.aggregate == "count":
        return [pl.len().cast(pl.Int128).alias(measure.name)]
    if measure.aggregate == "sum":
        wide = column.cast(pl.Int128)  # before the product, which could wrap as well
        return [(wide * pl.col(measure.times) if measure.times else wide).sum().alias(measure.name)]
    if measure.aggregate == "last":
        return [
            column.last().alias(measure.name),
            pl.col("occurred_at").last().alias("last_at"),
            pl.col("event_id").last().alias("last_event_id"),
        ]
    return [(column.min() if measure.aggregate == "min" else column.max()).alias(measure.name)]


def _again(measure: Measure) -> list[pl.Expr]:
    """Return how to merge a measure's partial values."""
    if measure.aggregate in ("count", "sum"):
        return [pl.col(measure.name).sum()]
    if measure.aggregate == "last":
        return [pl.col(name).last() for name in (measure.name, "last_at", "last_event_id")]
    return [pl.col(measure.name).min() if measure.aggregate == "min" else pl.col(measure.name).max()]


def _complete(metric: Metric, frame: pl.DataFrame) -> pl.DataFrame:
    """Add the measures that this source does not have, and put the columns in their order."""
    columns = [column for measure in metric.measures for column in _columns(measure)]
    have = frame.schema
    if all(have.get(name) == dtype for name, dtype, _ in columns):
        return frame
    wanted = [
        pl.col(name).cast(dtype) if name in have else pl.lit(empty, dtype=dtype).alias(name)
        for name, dtype, empty in columns
    ]
    return frame.select(PANE, *metric.group, *wanted)


def _columns(measure: Measure) -> list[tuple[str, type[pl.DataType], int | None]]:
    """Return name, type and empty value of a measure's columns. Sums are wide, so that they can't wrap silently."""
    if measure.aggregate in ("count", "sum"):
        return [(measure.name, pl.Int128, 0)]
    columns: list[tuple[str, type[pl.DataType], int | None]] = [(measure.name, pl.Int64, None)]
    if measure.aggregate == "last":
        columns += [("last_at", pl.Int64, None), ("last_event_id", pl.String, None)]
    return columns


def with_panes(rows: pl.DataFrame, pane_of: pl.DataFrame) -> pl.DataFrame:
    """Return those of ``rows`` whose record is in ``pane_of`` (``_index``, ``_pane``), with their pane."""
    if rows[INDEX].equals(pane_of[INDEX]):  # all are: no need to look each one up
        return rows.hstack([pane_of[PANE]])
    return rows.join(pane_of[[INDEX, PANE]], on=INDEX, how="inner", maintain_order="left")


def with_parents(items: pl.DataFrame, records: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return those of ``items`` whose record is in ``records``, with the record's ``columns``.

    ``_index`` ascends in both.
    """
    if not items.is_empty() and not records.is_empty():
        index, first, last = items[INDEX], records[INDEX][0], records[INDEX][-1]
        if last - first == len(records) - 1 and first <= index[0] and index[-1] <= last:
            return items.hstack(records[columns][index - first])  # none is missing: no need to look each one up
    return items.join(records[[INDEX, *columns]], on=INDEX, how="inner")


class OpenGroups:
    """The groups of one metric's open panes on one partition.

    Partial aggregates are gathered and merged only when the pile has grown to the size of what is merged already (or
    when somebody asks), so the cost per event doesn't grow with the number of open groups.
    """

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._merged: pl.DataFrame | None = None
        self._pile: list[pl.DataFrame] = []
        self._piled = 0

    def fold(self, sources: Mapping[str, pl.DataFrame]) -> None:
        """Take the applied rows of a batch: see :func:`partial`."""
        rows = partial(self.metric, sources)
        if rows is not None:
            self.add(rows)

    def add(self, rows: pl.DataFrame) -> None:
        """Take a batch's partial aggregates."""
        self._pile.append(rows.hstack([_DIRTY_ONCE.new_from_index(0, len(rows))]))
        self._piled += len(rows)
        if self._piled > max(10_000, 0 if self._merged is None else len(self._merged)):
            self._merge()

    def _merge(self) -> pl.DataFrame | None:
        if self._pile:
            partials = [*self._pile] if self._merged is None else [self._merged, *self._pile]
            self._merged = merge(self.metric, partials)
            self._pile, self._piled = [], 0
        return self._merged

    def take_final(self, watermark: int) -> pl.DataFrame | None:
        """Remove and return the groups of panes that ended by ``watermark``, checked; None when there are none."""
        merged = self._merge()
        if merged is None:
            return None
        final = pl.col(PANE) + PANE_MS <= watermark
        taken = merged.filter(final)
        if taken.is_empty():
            return None
        self._merged = merged.filter(~final)
        return _narrow(self.metric, taken)

    def take_changed(self) -> pl.DataFrame | None:
        """Return the groups that changed since they were last taken, checked; None when there are none."""
        merged = self._merge()
        if merged is None:
            return None
        if not merged[DIRTY].any():
            return None
        changed = merged.filter(DIRTY)
        self._merged = merged.with_columns(pl.lit(value=False).alias(DIRTY))
        return _narrow(self.metric, changed)

    def __len__(self) -> int:
        merged = self._merge()
        return 0 if merged is None else len(merged)


def _narrow(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with 64-bit sums. Raises ProtectiveStop where one does not fit."""
    wide = [m.name for m in metric.measures if m.aggregate in ("count", "sum")]
    for name in wide:
        limit, words = (_MONEY_LIMIT, "18 digits") if name.endswith("_e4") else (_LIMIT, "64 bits")
        if rows[name].abs().max() >= limit:  # type: ignore[operator]
            raise ProtectiveStop(
                f"{metric.name}.{name} of a group is beyond {words}; the events of its pane can't be counted"
            )
    kept = rows[[name for name in rows.columns if name != DIRTY]]
    return kept.with_columns(pl.col(wide).cast(pl.Int64)) if wide else kept
