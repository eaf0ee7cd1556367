"""Folding one metric: partial aggregates by pane and group, which merge in any order and to the same bits."""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import polars as pl

from penstock.avro import INDEX
from penstock.errors import ProtectiveStop
from penstock.metrics import Measure, Metric
from penstock.pipeline import PANE_MS
from processors.fates import PANE
from processors.sketches import with_sketch

DIRTY = "_dirty"
_DIRTY_ONCE = pl.Series(DIRTY, [True])
_AS_WRITTEN = pl.QueryOptFlags.none()
_LIMIT = 1 << 63
_MONEY_LIMIT = 10**18
"""Sums of money are decimals of 18 digits in the results' contracts: a reader could not read more."""


def partials(metric: Metric, sources: Mapping[str, pl.DataFrame]) -> list[pl.LazyFrame]:
    """Return the partial aggregates of rows: for each source that has any, a query of a row a pane and group.

    ``sources`` holds the applied rows by source (``OrderPlaced``, ``OrderPlaced.items``, ``*``), each with ``_pane``.
    """
    found = []
    for source in dict.fromkeys(measure.source for measure in metric.measures):
        rows = sources.get(source)
        if rows is None or rows.is_empty():
            continue
        if metric.sketch is not None:
            rows = with_sketch(metric, rows)
        query = rows.lazy()
        if any(measure.aggregate == "last" for measure in metric.measures if measure.source == source):
            query = query.sort("occurred_at", "event_id")
        found.append(query.group_by(PANE, *metric.group).agg(_from_events(metric, source)))
    return found


def merge(metric: Metric, partials: Sequence[pl.DataFrame]) -> pl.LazyFrame:
    """Return the query that merges partial aggregates: a row a pane and group, in no order."""
    query = pl.concat(partials).lazy()
    if any(measure.aggregate == "last" for measure in metric.measures):
        query = query.sort("last_at", "last_event_id", nulls_last=False)
    return query.group_by(PANE, *metric.group).agg(_from_partials(metric, dirty=DIRTY in partials[0].columns))


def answers(queries: Sequence[pl.LazyFrame]) -> list[pl.DataFrame]:
    """Return the frames of queries, asked at once: to hand one to Polars' pool costs more than a small one itself."""
    return pl.collect_all(queries, engine="in-memory", optimizations=_AS_WRITTEN) if queries else []


@cache
def _from_events(metric: Metric, source: str) -> list[pl.Expr]:
    """Return how to take all measures from events of ``source``: what it does not bring is empty."""
    return [e for m in metric.measures for e in (_first(m) if m.source == source else _empty(m))]


@cache
def _from_partials(metric: Metric, *, dirty: bool) -> list[pl.Expr]:
    """Return how to merge all measures."""
    return [e for m in metric.measures for e in _again(m)] + ([pl.col(DIRTY).any()] if dirty else [])


def _first(measure: Measure) -> list[pl.Expr]:
    """Return how to take a measure from events. Sums are wide, so that they can't wrap silently."""
    column = pl.col(measure.column)
    if measure.aggregate == "count":
        return [pl.len().cast(pl.Int128).alias(measure.name)]
    if measure.aggregate == "sum":
        wide = column.cast(pl.Int128)  # before the product, which could wrap as well
        return [(wide * pl.col(measure.times) if measure.times else wide).sum().alias(measure.name)]
    if measure.aggregate == "last":
        return [
            column.last().cast(pl.Int64).alias(measure.name),
            pl.col("occurred_at").last().alias("last_at"),
            pl.col("event_id").last().alias("last_event_id"),
        ]
    found = column.min() if measure.aggregate == "min" else column.max()
    return [found.cast(pl.Int64).alias(measure.name)]


def _empty(measure: Measure) -> list[pl.Expr]:
    """Return what a measure is where no event brings it."""
    if measure.aggregate in ("count", "sum"):
        return [pl.lit(0, dtype=pl.Int128).alias(measure.name)]
    nothing = [pl.lit(None, dtype=pl.Int64).alias(measure.name)]
    if measure.aggregate == "last":
        nothing += [pl.lit(None, dtype=pl.Int64).alias("last_at"), pl.lit(None, dtype=pl.String).alias("last_event_id")]
    return nothing


def _again(measure: Measure) -> list[pl.Expr]:
    """Return how to merge a measure's partial values."""
    if measure.aggregate in ("count", "sum"):
        return [pl.col(measure.name).sum()]
    if measure.aggregate == "last":
        return [pl.col(name).last() for name in (measure.name, "last_at", "last_event_id")]
    return [pl.col(measure.name).min() if measure.aggregate == "min" else pl.col(measure.name).max()]


def with_parents(rows: pl.DataFrame, records: pl.DataFrame, columns: list[str]) -> pl.DataFrame:
    """Return those of ``rows`` whose record is in ``records``, with the record's ``columns``.

    ``_index`` ascends in both; in ``records`` each is once.
    """
    # A join would go through Polars' pool, which a small batch feels.
    known, asked = records[INDEX].to_numpy(), rows[INDEX].to_numpy()
    if not len(known) or not len(asked):
        return rows.clear().hstack(records[columns].clear())
    if len(known) == len(asked) and (known == asked).all():
        return rows.hstack(records[columns])
    first, count = known[0], known[-1] - known[0] + 1
    place = np.full(count + 1, -1)
    place[known - first] = np.arange(len(known))
    at = place[np.clip(asked - first, -1, count)]  # the last place is of none
    found = at >= 0
    if not found.all():
        rows, at = rows.filter(found), at[found]
    return rows.hstack(records[columns][at])


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
        """Take applied rows: see :func:`partials`. For several metrics at once there is :func:`fold_together`."""
        fold_together([self], sources)

    def add(self, rows: pl.DataFrame) -> None:
        """Take partial aggregates."""
        self._pile.append(rows.hstack([_DIRTY_ONCE.new_from_index(0, len(rows))]))
        self._piled += len(rows)
        if self._piled > max(10_000, 0 if self._merged is None else len(self._merged)):
            self._merge()

    def merging(self) -> pl.LazyFrame | None:
        """Return the query whose answer :meth:`merged` takes; None when there is nothing to merge."""
        if not self._pile:
            return None
        return merge(self.metric, self._pile if self._merged is None else [self._merged, *self._pile])

    def merged(self, rows: pl.DataFrame) -> None:
        """Take what :meth:`merging` asked for, in place of what it was made of."""
        self._merged, self._pile, self._piled = rows, [], 0

    def _merge(self) -> pl.DataFrame | None:
        merge_together([self])
        return self._merged

    def take_final(self, watermark: int) -> pl.DataFrame | None:
        """Remove and return the groups of panes that ended by ``watermark``, checked; None when there are none."""
        merged = self._merge()
        if merged is None:
            return None
        final = merged[PANE] <= watermark - PANE_MS
        if not final.any():
            return None
        self._merged = merged[(~final).arg_true()]
        return _narrow(self.metric, merged[final.arg_true()])

    def take_changed(self) -> pl.DataFrame | None:
        """Return the groups that changed since they were last taken, checked; None when there are none."""
        merged = self._merge()
        if merged is None:
            return None
        dirty = merged[DIRTY]
        if not dirty.any():
            return None
        changed = merged if dirty.all() else merged[dirty.arg_true()]
        self._merged = merged.with_columns(pl.lit(value=False).alias(DIRTY))
        return _narrow(self.metric, changed)

    def __len__(self) -> int:
        merged = self._merge()
        return 0 if merged is None else len(merged)


def fold_together(metrics: Sequence[OpenGroups], sources: Mapping[str, pl.DataFrame]) -> None:
    """Let each take its part of applied rows."""
    asked = [(groups, query) for groups in metrics for query in partials(groups.metric, sources)]
    for (groups, _), rows in zip(asked, answers([query for _, query in asked]), strict=True):
        groups.add(rows)


def merge_together(metrics: Sequence[OpenGroups]) -> None:
    """Let each merge what it has taken."""
    asked = [(groups, query) for groups in metrics if (query := groups.merging()) is not None]
    for (groups, _), rows in zip(asked, answers([query for _, query in asked]), strict=True):
        groups.merged(rows)


def _narrow(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with 64-bit sums. Raises ProtectiveStop where one does not fit."""
    wide = [m.name for m in metric.measures if m.aggregate in ("count", "sum")]
    for name in wide:
        limit, words = (_MONEY_LIMIT, "18 digits") if name.endswith("_e4") else (_LIMIT, "64 bits")
        if max(rows[name].max(), -rows[name].min()) >= limit:  # type: ignore[operator,type-var]
            raise ProtectiveStop(
                f"{metric.name}.{name} of a group is beyond {words}; the events of its pane can't be counted"
            )
    kept = rows[[name for name in rows.columns if name != DIRTY]]
    return kept.with_columns_seq(pl.col(wide).cast(pl.Int64)) if wide else kept
