"""Rows by range: no gap, nothing twice, no number in two ranges, whatever the batches are."""

import sqlite3
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from referee.database import Rows
from referee.snapshot import Snapshot
from referee.streams import Range, RowStream
from tests.referee.worlds import patient

COLUMNS = {"n": pl.Int64, "k": pl.Int64}


class Memory:
    """A database in memory that hands over a few rows at a time."""

    def __init__(self, numbers: Sequence[Any], batch: int) -> None:
        self._connection = sqlite3.connect(":memory:")
        self._connection.execute("CREATE TABLE rows (n BIGINT, k BIGINT)")
        self._connection.executemany("INSERT INTO rows VALUES (?, ?)", [(n, k) for k, n in enumerate(numbers)])
        self._connection.execute("CREATE TABLE offsets (view, topic, partition, topic_id, next, version)")
        self._batch = batch

    def fetch(self, sql: str, values: Sequence[Any]) -> Rows:
        return self._connection.execute(sql, tuple(values)).fetchall()

    def has(self, table: str) -> bool:
        return bool(self.fetch("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)))

    def stream(self, sql: str, values: Sequence[Any]) -> Iterator[Rows]:
        cursor = self._connection.execute(sql, tuple(values))
        while rows := cursor.fetchmany(self._batch):
            yield rows

    def close(self) -> None:
        self._connection.close()


def streamed(numbers: Sequence[Any], batch: int, bounds: Sequence[int]) -> list[Range]:
    database = Memory(numbers, batch)
    stream = RowStream(Snapshot(database, 1), "rows", COLUMNS, "n")
    found = [part for bound in (*bounds, None) for part in stream.below(bound)]
    assert stream.rows == len(numbers)
    database.close()
    return found


few = st.lists(st.integers(-5, 20), max_size=40)


@patient
@given(few, st.integers(1, 12), st.lists(st.integers(-8, 25), max_size=6, unique=True).map(sorted))
def test_each_row_comes_once_in_the_range_of_its_number(numbers: list[int], batch: int, bounds: list[int]) -> None:
    found = streamed(numbers, batch, bounds)
    assert sorted(row for part in found for row in part.rows["n"]) == sorted(numbers)
    assert all(before.high == after.low for before, after in pairwise(found))
    for part in found:
        assert all(part.low <= number and (part.high is None or number < part.high) for number in part.rows["n"])
    assert set(bounds) <= {part.high for part in found}


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_what_is_no_whole_number_goes_along_and_stops_nothing(batch: int) -> None:
    found = streamed([1, 2, 2.5, 3, "text"], batch, [2, 3])
    assert [row for part in found for row in part.rows["n"]] == [1, 2, None, 3, None]


def test_what_is_expected_falls_in_the_same_ranges() -> None:
    found = streamed([1, 1, 2, 5], 1, [4])
    expected = pl.DataFrame({"n": [0, 1, 2, 3, 4, 9]})
    assert [row for part in found for row in part.of(expected, "n")["n"]] == [0, 1, 2, 3, 4, 9]
