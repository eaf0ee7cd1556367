"""Rows that ascend by a whole number (a pane's start, an offset), taken range by range. Pure but for reading."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import polars as pl

from penstock.pipeline import NO_TIME
from referee.compare import Differences, Shape, compare
from referee.snapshot import ALL, Schema, Snapshot, Where

_ORDER = "_order"


class Range(NamedTuple):
    """All rows of a stream from ``low`` on and below ``high`` (None: to the end)."""

    rows: pl.DataFrame
    low: int
    high: int | None

    def of(self, frame: pl.DataFrame, column: str) -> pl.DataFrame:
        """Return what of ``frame`` falls in the range by ``column``."""
        inside = pl.col(column) >= self.low
        return frame.filter(inside if self.high is None else inside & (pl.col(column) < self.high))


class RowStream:
    """The rows of a relation by one of its columns; a batch of rows is held, or those of one number if they are more.

    What is no whole number (SQLite may hold it) goes with the number before it.
    """

    def __init__(self, snapshot: Snapshot, relation: str, columns: Schema, order: str, where: Where = ALL) -> None:
        self._batches = snapshot.batches(relation, columns, where, order)
        self.order = order
        self._schema: dict[str, Any] = {**columns, _ORDER: pl.Int64}
        self._left = pl.DataFrame(schema=self._schema)
        self._last = NO_TIME
        self._low = NO_TIME
        self.rows = 0

    def below(self, bound: int | None) -> Iterator[Range]:
        """Yield the next rows up to ``bound`` (None: all that are left) in ranges without a gap, at least one."""
        held = pl.DataFrame(schema=self._schema)
        while True:
            taken, more = self._take(bound)
            held = pl.concat([held, taken])
            if not more:
                yield self._range(held, bound)
                return
            # The rows of the last number may not all be here yet.
            done = int((held[_ORDER] < self._last).sum())
            if done:
                yield self._range(held[:done], self._last)
                held = held[done:]

    def _range(self, rows: pl.DataFrame, high: int | None) -> Range:
        found = Range(rows.drop(_ORDER), self._low, high)
        self.rows += len(rows)
        if high is not None:
            self._low = high
        return found

    def _take(self, bound: int | None) -> tuple[pl.DataFrame, bool]:
        """Return rows below ``bound``, and whether there may be more of them."""
        if self._left.is_empty():
            batch = next(self._batches, None)
            if batch is None:
                return self._left, False
            order = pl.col(self.order).forward_fill().fill_null(self._last).alias(_ORDER)
            self._left = batch.with_columns(order)
        if bound is None:
            taken, self._left = self._left, self._left.clear()
        else:
            count = int((self._left[_ORDER] < bound).sum())
            taken, self._left = self._left[:count], self._left[count:]
        if len(taken):
            self._last = int(taken[_ORDER][-1])
        return taken, self._left.is_empty()

    def compare(self, shape: Shape, bound: int | None, expected: pl.DataFrame, differences: Differences) -> None:
        """Compare the next rows, up to ``bound``, with ``expected``."""
        for part in self.below(bound):
            compare(shape, part.rows, part.of(expected, self.order), differences)
