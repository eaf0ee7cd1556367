"""The difference of two frames by key. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

KEPT = 1_000
"""Differences of one column of a view that are kept in words; all are counted."""

SHOWN_OFFSETS = 4
"""Offsets behind a difference that are listed before the last one."""

ROW = "(row)"
ABSENT = "absent"
PRESENT = "present"


class Difference(NamedTuple):
    """One cell that differs, or one row (column :data:`ROW`) that only one side has.

    ``offsets`` says which events are behind it: topic, partition and offsets; empty where the log has none.
    """

    view: str
    key: str
    column: str
    in_view: str
    by_log: str
    offsets: str = ""


_ABSENT, _PRESENT = "_absent", "_present"
_SAID = {
    _ABSENT: (ROW, pl.lit(ABSENT), pl.lit(PRESENT)),
    _PRESENT: (ROW, pl.lit(PRESENT), pl.lit(ABSENT)),
}

Trace = Callable[[pl.DataFrame, str], Sequence[str]]
"""Returns, for rows of a shape's key and the name of a column that differs, the ``offsets`` of each row."""


@dataclass
class Differences:
    """All differences by count, and the first of them in words."""

    rows: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    _kept: Counter[tuple[str, str]] = field(default_factory=Counter)

    @classmethod
    def of_all(cls, parts: Sequence["Differences"]) -> "Differences":
        """Return those of several comparisons together."""
        rows = [row for part in parts for row in part.rows]
        return cls(rows, sum((part.counts for part in parts), Counter[str]()))

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def room(self, view: str, column: str) -> int:
        """Return how many more differences of a column are kept in words."""
        return KEPT - self._kept[view, column]

    def add(self, rows: Sequence[Difference], view: str, column: str, count: int) -> None:
        """Take ``count`` differences of a column, of which ``rows`` are some, as many as there is room for."""
        self.counts[view] += count
        self._kept[view, column] += len(rows)
        self.rows += rows

    def say(self, view: str, key: str, column: str, in_view: object, by_log: object) -> None:
        """Take one difference."""
        self.add([Difference(view, key, column, text(in_view), text(by_log))], view, column, 1)

    def sort(self) -> None:
        """Put them in an order that does not depend on the order in which they were found."""
        self.rows.sort()


class Shape(NamedTuple):
    """What is compared: a view's name, the columns that identify a row, and those that must be equal."""

    view: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


def compare(
    shape: Shape, seen: pl.DataFrame, expected: pl.DataFrame, differences: Differences, trace: Trace | None = None
) -> None:
    """Add every difference of ``seen`` (the view's rows) from ``expected`` (by the log) to ``differences``.

    Both have the shape's key, unique in ``expected``, and columns; nulls are equal to each other. A Boolean
    column ``required`` of ``expected``, if it has one, says which rows the view must have; without it, all.
    """
    keys, columns = list(shape.key), shape.columns
    if seen.is_empty() and expected.is_empty():
        return
    found = _Found(shape, differences, trace)
    twice = seen.filter(pl.struct(keys).is_duplicated()).unique(keys)
    found.add(twice, ROW, pl.lit("more than once"), pl.lit("once"))
    needed = ["required"] if "required" in expected.columns else []
    left = seen.select(*keys, *columns, _seen=pl.lit(value=True))
    names = (pl.col(name).alias(f"{name}:log") for name in columns)
    right = expected.select(*keys, *needed, *names, _log=pl.lit(value=True))
    joined = left.join(right, on=keys, how="full", coalesce=True, nulls_equal=True)
    required = pl.col("required") if needed else pl.lit(value=True)
    both = pl.col("_seen") & pl.col("_log")
    wrong = {
        _ABSENT: pl.col("_seen").is_null() & required,
        _PRESENT: pl.col("_log").is_null(),
        **{name: both & pl.col(name).ne_missing(pl.col(f"{name}:log")) for name in columns},
    }
    # As a rule there are none, which one query tells.
    counts = joined.select(which.sum().alias(name) for name, which in wrong.items())
    for name in (column for column in counts.columns if counts[column][0]):
        column, in_view, by_log = _SAID.get(name) or (name, pl.col(name), pl.col(f"{name}:log"))
        found.add(joined.filter(wrong[name]), column, in_view, by_log)


class _Found(NamedTuple):
    shape: Shape
    differences: Differences
    trace: Trace | None

    def add(self, wrong: pl.DataFrame, column: str, in_view: pl.Expr, by_log: pl.Expr) -> None:
        """Add ``wrong``, rows that differ in ``column``: what the view says and what the log says."""
        if wrong.is_empty():
            return
        view, key = self.shape.view, self.shape.key
        first = wrong.sort(key).head(self.differences.room(view, column))
        first = first.select(*key, _in_view=in_view, _by_log=by_log)
        offsets = self.trace(first.select(key), column) if self.trace and len(first) else [""] * len(first)
        rows = [
            Difference(view, key_text(key, row), column, text(row["_in_view"]), text(row["_by_log"]), places)
            for row, places in zip(first.iter_rows(named=True), offsets, strict=True)
        ]
        self.differences.add(rows, view, column, len(wrong))


def key_text(keys: Sequence[str], row: dict[str, object]) -> str:
    """Return a row's key in words: ``pane_start=1700000000000 country=GB``."""
    return " ".join(f"{name}={text(row[name])}" for name in keys)


def text(value: object) -> str:
    """Return a value in words."""
    return "null" if value is None else str(value)


def places_text(topic: str, partition: int, offsets: Sequence[int]) -> str:
    """Return offsets of a partition in words: ``orders/0: 3, 5, 8 … 99 (12 events)``. They ascend."""
    if len(offsets) <= SHOWN_OFFSETS + 1:
        listed = ", ".join(map(str, offsets))
    else:
        listed = f"{', '.join(map(str, offsets[:SHOWN_OFFSETS]))} … {offsets[-1]} ({len(offsets):,} events)"
    return f"{topic}/{partition}: {listed}" if listed else ""
