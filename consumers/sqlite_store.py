"""Views in a SQLite file."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from consumers.stores import Row
from consumers.view_files import Dialect
from penstock.errors import PenstockError, ProtectiveStop, Unavailable, UsageError

BUSY_TIMEOUT_S = 5.0

_SETTINGS = (
    # Readers never wait, and a commit needs no fsync: after a crash of the machine the last batches may be gone,
    # rows and offsets together, so they are read again.
    # Keys come in any order, so that a batch touches most pages: fewer and larger ones cost less. A file keeps the
    # size that it was made with.
    "PRAGMA page_size = 16384",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cache_size = -65536",
    "PRAGMA wal_autocheckpoint = 4000",
)
_PIECES = (512, 32, 1)
"""Rows of one statement: how many, then how many of what is left. SQLite takes 32,766 parameters."""
_STATEMENTS = 512
"""How many prepared statements a connection keeps: those that merge, three for each."""

_AWAY = {
    sqlite3.SQLITE_BUSY: "is locked by another program",
    sqlite3.SQLITE_LOCKED: "is locked by another program",
    sqlite3.SQLITE_FULL: "has no room: its disk is full",
    sqlite3.SQLITE_IOERR: "can't be read or written",
}
_WRONG = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM}


def _utc(expression: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%fZ', ({expression}) / 1000.0, 'unixepoch')"


class SqliteStore:
    """A SQLite file; see :class:`consumers.stores.Store`. It is made if it is not there."""

    # There is one writer at a time, so nothing to sort for; and it would cost a fifth of the merge.
    dialect = Dialect({"text": "TEXT", "clustered": "WITHOUT ROWID"}, {"utc": _utc, "sorted": lambda _columns: ""})

    def __init__(self, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> None:
        self._path = path
        self._busy_timeout_s = busy_timeout_s
        self._connection: sqlite3.Connection | None = None

    @classmethod
    def from_url(cls, url: str) -> "SqliteStore":
        """Read ``sqlite:///FILE``: with three slashes relative to the working directory, with four absolute."""
        path = url.removeprefix("sqlite:///")
        if path == url or not path or path == ":memory:":
            raise UsageError(f"DATABASE_URL: {url!r} names no file; it must be sqlite:///FILE")
        return cls(Path(path))

    def prepare(self, staging: Iterable[str]) -> None:
        """See :class:`consumers.stores.Store`."""
        # Rows come as parameters: there is nothing to make.

    def transaction(self) -> AbstractContextManager["_SqliteTransaction"]:
        """See :class:`consumers.stores.Store`. There is one writer at a time; the others wait here."""
        return self._begin("BEGIN IMMEDIATE")

    def snapshot(self) -> AbstractContextManager["_SqliteTransaction"]:
        """See :class:`consumers.stores.Store`."""
        return self._begin("BEGIN")

    @contextmanager
    def _begin(self, begin: str) -> Iterator["_SqliteTransaction"]:
        with self._explained():
            connection = self._connected()
            connection.execute(begin)
            try:
                yield _SqliteTransaction(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    def exclusively(self) -> AbstractContextManager["_SqliteTransaction"]:
        """See :class:`consumers.stores.Store`."""
        return self.transaction()

    def close(self) -> None:
        """See :class:`consumers.stores.Store`."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            # The figures are read in the threads of the HTTP server, one at a time.
            connection = sqlite3.connect(
                self._path, timeout=self._busy_timeout_s, isolation_level=None, check_same_thread=False,
                cached_statements=_STATEMENTS,
            )  # fmt: skip
            try:
                for statement in _SETTINGS:
                    connection.execute(statement)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise self._translate(error) from error

    def _translate(self, error: sqlite3.Error) -> PenstockError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _AWAY:
            return Unavailable(f"database {self._path} {_AWAY[code]} ({error})")
        if code in _WRONG:
            return UsageError(f"DATABASE_URL: {self._path} can't be opened as a SQLite file for writing: {error}")
        if code == sqlite3.SQLITE_CORRUPT:
            return ProtectiveStop(
                f"database {self._path} is damaged ({error}): remove it, and the views are built again from the log"
            )
        return PenstockError(f"database {self._path} refuses a statement: {error}")


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        return self._connection.execute(sql, parameters or {}).rowcount

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        return self._connection.execute(sql, parameters or {}).fetchall()

    def merge(self, sql: str, table: str, rows: pl.DataFrame) -> None:
        # Each execute() gives the interpreter to other threads once, where executemany() would once a row.
        width, values = rows.width, _flat(rows)
        begin = 0
        for size in _PIECES:
            while rows.height - begin >= size:
                piece = values[begin * width : (begin + size) * width]
                self._connection.execute(_with_rows(sql, table, tuple(rows.columns), size), piece)
                begin += size


def _flat(rows: pl.DataFrame) -> list[Any]:
    """Return the values row after row, without making rows."""
    values: list[Any] = [None] * (rows.height * rows.width)
    for number, column in enumerate(rows.iter_columns()):
        values[number :: rows.width] = column.to_list()
    return values


@lru_cache(maxsize=_STATEMENTS)
def _with_rows(sql: str, table: str, columns: tuple[str, ...], count: int) -> str:
    """Return ``sql`` behind a ``WITH`` that calls ``count`` rows of parameters ``table``."""
    row = f"({', '.join('?' * len(columns))})"
    return f"WITH {table} ({', '.join(columns)}) AS (VALUES {', '.join([row] * count)}) {sql}"
