"""What the views hold at one moment, read by and by.

Relations are read by name; nothing here knows how they are made.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from referee.database import Database, Rows

Schema = Mapping[str, Any]


class Where(NamedTuple):
    """A condition on rows, with its parameters."""

    sql: str
    values: tuple[Any, ...] = ()

    def __and__(self, other: "Where") -> "Where":
        """Return the condition that asks for both."""
        return Where(f"({self.sql}) AND ({other.sql})", (*self.values, *other.values))


ALL = Where("1 = 1")


def equal(place: Mapping[str, Any]) -> Where:
    """Return the condition that columns have these values."""
    return Where(" AND ".join(f"{column} = ?" for column in place) or ALL.sql, tuple(place.values()))


def at_least(column: str, value: int | None) -> Where:
    """Return the condition that a column is not below ``value``; None: any."""
    return ALL if value is None else Where(f"{column} >= ?", (value,))


def below(column: str, value: int) -> Where:
    """Return the condition that a column is below ``value``."""
    return Where(f"{column} < ?", (value,))


def none_of(places: Sequence[Mapping[str, Any]]) -> Where:
    """Return the condition that a row is of none of ``places``."""
    conditions = [equal(place) for place in places]
    return Where(
        f"NOT ({' OR '.join(f'({each.sql})' for each in conditions)})",
        tuple(value for each in conditions for value in each.values),
    )


REBUILDS = 10_000
"""The version of a table is that of its pipeline and, that many times, the number of its rebuild."""


def _live(database: Database, version: int) -> list[tuple[str, int, list[str]]]:
    """Return view, version and names of the live tables of each view; none in a database of before there were any."""
    if not database.has("view_builds"):
        return []
    rows = database.fetch(
        "SELECT view, version, definition FROM view_builds WHERE pipeline = ? AND state = 'live'", [version]
    )
    return [(str(row[0]), int(row[1]), list(json.loads(row[2])["tables"])) for row in rows]


class Snapshot:
    """What the views of one pipeline version hold at one moment. Close it when done."""

    def __init__(self, database: Database, version: int) -> None:
        self._database = database
        self._version = version
        live = _live(database, version)
        self._rebuilt = {view: number for view, number, _ in live}
        self._tables = {table: number for _, number, tables in live for table in tables}
        rows = database.fetch("SELECT view, version, topic, partition, topic_id, next FROM offsets", [])
        self._offsets = {
            (row[0], row[2], int(row[3])): (str(row[4]), int(row[5]))
            for row in rows
            if int(row[1]) == self._rebuilt.get(row[0], version)
        }

    def stored(self, view: str, topic: str, partition: int) -> tuple[str, int] | None:
        """Return the topic id and the next offset that ``view`` has stored for a partition of a logical topic."""
        return self._offsets.get((view, topic, partition))

    def views(self) -> set[str]:
        """Return the names of the views of this version."""
        return self._kept("SELECT view, version FROM view_versions")

    def shown(self) -> set[str]:
        """Return the names of the views whose relations for people show this version."""
        return self._kept("SELECT view, version FROM view_versions WHERE shown <> ''")

    def _kept(self, query: str) -> set[str]:
        rows = self._database.fetch(query, [])
        return {str(row[0]) for row in rows if int(row[1]) == self._rebuilt.get(row[0], self._version)}

    def table_name(self, name: str) -> str:
        """Return the name of this version of a view's table; of a view that was rebuilt, of its live build."""
        number, pipeline = divmod(self._tables.get(name, self._version), REBUILDS)
        return f"{name}_v{pipeline}_r{number}" if number else f"{name}_v{pipeline}"

    def table(self, name: str, columns: Schema, where: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """Return ``columns`` of all rows of a view's table whose columns equal ``where``: of a small choice only."""
        frames = list(self.batches(self.table_name(name), columns, equal(where or {})))
        return pl.concat(frames) if frames else _frame(columns, [])

    def batches(
        self, relation: str, columns: Schema, where: Where = ALL, order: str | None = None
    ) -> Iterator[pl.DataFrame]:
        """Yield ``columns`` of the rows of a relation, BATCH_ROWS at a time, ascending by ``order`` if given."""
        ordered = f" ORDER BY {order}" if order else ""
        query = f"SELECT {', '.join(columns)} FROM {relation} WHERE {where.sql}{ordered}"  # noqa: S608  # names of ours
        for rows in self._database.stream(query, where.values):
            yield _frame(columns, rows)

    def count(self, relation: str, where: Where = ALL) -> int:
        """Return how many rows there are."""
        query = f"SELECT count(*) FROM {relation} WHERE {where.sql}"  # noqa: S608  # names of ours
        return int(self._database.fetch(query, where.values)[0][0])

    def largest(self, relation: str, column: str, where: Where) -> int | None:
        """Return the largest whole number in ``column``; None without any."""
        # SQLite may hold a text, which is larger than any number.
        query = f"SELECT max({column}) FROM {relation} WHERE {where.sql} AND {column} <= ?"  # noqa: S608  # names of ours
        ((found,),) = self._database.fetch(query, (*where.values, (1 << 63) - 1))
        return None if found is None else int(found)

    def close(self) -> None:
        """End the transaction."""
        self._database.close()


def _frame(columns: Schema, rows: Rows) -> pl.DataFrame:
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pl.DataFrame(
        [_series(name, kind, column) for (name, kind), column in zip(columns.items(), cells, strict=True)]
    )


def _series(name: str, kind: Any, values: Sequence[Any]) -> pl.Series:
    """Return a column; what is not of its type (SQLite may hold it) becomes null, and so differs from the log."""
    try:
        return pl.Series(name, values, dtype=kind, strict=True)
    except (TypeError, OverflowError, pl.exceptions.PolarsError):
        return pl.Series(name, [_fitting(value, kind) for value in values], dtype=kind)


def _fitting(value: Any, kind: Any) -> Any:
    if kind == pl.Int64 and isinstance(value, int):
        return int(value) if abs(value) < 1 << 63 else None
    fits = str if kind == pl.String else bytes
    return value if kind != pl.Int64 and isinstance(value, fits) else None
