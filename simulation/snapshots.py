"""The views' tables and offsets at one moment, read in one transaction."""

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = {"devices": ("devices", "device_readings")}
"""The tables of a view, where they are not called as it is."""

Row = tuple[tuple[str, Any], ...]
"""Columns with their values, by name."""


Offsets = Mapping[tuple[str, str, int], tuple[str, int]]
"""Topic id and next offset by (view, topic, partition)."""


@dataclass(frozen=True)
class Snapshot:
    """``tables`` are rows by table."""

    offsets: Offsets
    tables: Mapping[str, frozenset[Row]]


def take(database: Path, views: Iterable[str]) -> Snapshot | None:
    """Return what the database holds; None while its tables are not made."""
    if not database.exists():
        return None
    with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        try:
            offsets = _offsets(connection)
            names = [table for view in views for table in TABLES.get(view, (view,))]
            tables = {name: _rows(connection, name) for name in names}
        except sqlite3.OperationalError:
            return None
    return Snapshot(offsets, tables)


def offsets_of(connection: sqlite3.Connection) -> Offsets:
    """Return what the offsets of a database are; none while its tables are not made."""
    try:
        return _offsets(connection)
    except sqlite3.OperationalError:
        return {}


def _offsets(connection: sqlite3.Connection) -> Offsets:
    rows = connection.execute("SELECT view, topic, partition, topic_id, next FROM offsets")
    return {(view, topic, partition): (topic_id, next_) for view, topic, partition, topic_id, next_ in rows}


def _rows(connection: sqlite3.Connection, table: str) -> frozenset[Row]:
    cursor = connection.execute(f"SELECT * FROM {table}_v1")
    names = [column[0] for column in cursor.description]
    return frozenset(tuple(sorted(zip(names, row, strict=True))) for row in cursor)
