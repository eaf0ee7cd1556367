"""The difference of two frames by key. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

KEPT = 1_000
"""Differences of one comparison that are kept in words; all are counted."""

ROW = "(row)"
ABSENT = "absent"
PRESENT = "present"


class Difference(NamedTuple):
    """One cell that differs, or one row (column :data:`ROW`) that only one side has."""

    view: str
    key: str
    column: str
    in_view: str
    by_log: str


@dataclass
class Differences:
    """All differences by count, and the first of them in words."""

    rows: list[Difference] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts.total()

    def add(self, view: str, rows: Iterable[Difference], count: int) -> None:
        """Take ``count`` differences of ``view``, of which ``rows`` are some."""
        if count:
            self.counts[view] += count
            self.rows += rows

    def say(self, view: str, key: str, column: str, in_view: object, by_log: object) -> None:
        """Take one difference."""
        self.add(view, [Difference(view, key, column, _text(in_view), _text(by_log))], 1)


class Shape(NamedTuple):
    """What is compared: a view's name, the columns that identify a row, and those that must be equal."""

    view: str
    key: tuple[str, ...]
    columns: tuple[str, ...]


def compare(shape: Shape, seen: pl.DataFrame, expected: pl.DataFrame, differences: Differences) -> None:
    """Add every difference of ``seen`` (the view's rows) from ``expected`` (by the log) to ``differences``.

    Both have the shape's key, unique in ``expected``, and columns; nulls are equal to each other. A Boolean
    column ``required`` of ``expected``, if it has one, says which rows the view must have; without it, all.
    """
    keys, columns = list(shape.key), shape.columns
    twice = seen.filter(pl.struct(keys).is_duplicated()).unique(keys)
    _add(shape, twice, ROW, (pl.lit("more than once"), pl.lit("once")), differences)
    left = seen.select(*keys, *columns).with_columns(_seen=pl.lit(value=True))
    right = expected.rename({name: f"{name}:log" for name in columns}).with_columns(_log=pl.lit(value=True))
    joined = left.join(right, on=keys, how="full", coalesce=True, nulls_equal=True)
    needed = pl.col("required") if "required" in expected.columns else pl.lit(value=True)
    missing = joined.filter(pl.col("_seen").is_null() & needed)
    extra = joined.filter(pl.col("_log").is_null())
    both = joined.filter(pl.col("_seen") & pl.col("_log"))
    _add(shape, missing, ROW, (pl.lit(ABSENT), pl.lit(PRESENT)), differences)
    _add(shape, extra, ROW, (pl.lit(PRESENT), pl.lit(ABSENT)), differences)
    for name in columns:
        wrong = both.filter(pl.col(name).ne_missing(pl.col(f"{name}:log")))
        _add(shape, wrong, name, (pl.col(name), pl.col(f"{name}:log")), differences)


def _add(
    shape: Shape, wrong: pl.DataFrame, column: str, sides: tuple[pl.Expr, pl.Expr], differences: Differences
) -> None:
    """Add ``wrong``, rows that differ in ``column``; ``sides``: what the view says and what the log says."""
    if wrong.is_empty():
        return
    in_view, by_log = sides
    first = wrong.sort(shape.key).head(KEPT).select(*shape.key, _in_view=in_view, _by_log=by_log)
    rows = (
        Difference(shape.view, key_text(shape.key, row), column, _text(row["_in_view"]), _text(row["_by_log"]))
        for row in first.iter_rows(named=True)
    )
    differences.add(shape.view, rows, len(wrong))


def key_text(keys: Sequence[str], row: dict[str, object]) -> str:
    """Return a row's key in words: ``pane_start=1700000000000 country=GB``."""
    return " ".join(f"{name}={_text(row[name])}" for name in keys)


def _text(value: object) -> str:
    return "null" if value is None else str(value)
