"""The view database, read-only: one transaction that sees one moment, in SQLite or in Postgres."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg

from penstock.errors import PenstockError, Unavailable, UsageError
from penstock.postgres import keepalives
from penstock.settings import Settings, mask_url

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 3
BATCH_ROWS = 10_000
"""Rows that are held of a table that is read by and by."""

_HOPELESS = (
    "does not exist", "authentication failed", "no pg_hba.conf entry", "invalid ", "no password supplied",
    "certificate verify failed", "does not match host name", "does not support SSL",
)  # fmt: skip
"""What Postgres and its client say to an address that will not become right by waiting."""

Rows = Sequence[tuple[Any, ...]]


class Database(Protocol):
    """A connection inside a read-only transaction."""

    def fetch(self, sql: str, values: Sequence[Any]) -> Rows:
        """Run a query whose parameters are written ``?``. Raises Unavailable, PenstockError."""

    def has(self, table: str) -> bool:
        """Return whether there is such a table. Raises as fetch."""

    def stream(self, sql: str, values: Sequence[Any]) -> Iterator[Rows]:
        """Run a query and yield its rows, at most BATCH_ROWS at a time. Several may be under way. Raises as fetch."""

    def close(self) -> None:
        """End the transaction and the connection."""


class Sqlite:
    """A SQLite file; with its write-ahead log, a reader sees one moment and holds up nobody."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            raise Unavailable(f"there is no view database {path}: is `penstock materialize` running?")
        if not path.is_file():
            raise UsageError(f"DATABASE_URL: {path} is no file")
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("BEGIN")
            self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise self._translate(error) from None

    def fetch(self, sql: str, values: Sequence[Any]) -> Rows:
        """See :class:`Database`."""
        try:
            return self._connection.execute(sql, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise self._translate(error) from None

    def has(self, table: str) -> bool:
        """See :class:`Database`."""
        return bool(self.fetch("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,)))

    def stream(self, sql: str, values: Sequence[Any]) -> Iterator[Rows]:
        """See :class:`Database`."""
        try:
            cursor = self._connection.execute(sql, tuple(values))
            while rows := cursor.fetchmany(BATCH_ROWS):
                yield rows
        except sqlite3.Error as error:
            raise self._translate(error) from None

    def _translate(self, error: sqlite3.Error) -> PenstockError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED) or "no such table" in str(error):
            return Unavailable(f"database {self._path} can't be read yet: {error}")
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_PERM):
            return UsageError(f"DATABASE_URL: {self._path} can't be read as a SQLite file: {error}")
        return PenstockError(f"database {self._path} refuses a query: {error}")

    def close(self) -> None:
        """See :class:`Database`."""
        self._connection.close()


class Postgres:
    """A Postgres database, in a repeatable-read transaction."""

    def __init__(self, url: str) -> None:
        self._where = mask_url(url)
        self._cursors = 0
        try:
            self._connection = psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S, **keepalives(url))
        except psycopg.Error as error:
            why = (str(error).strip().splitlines() or [type(error).__name__])[0]
            wrong = isinstance(error, psycopg.ProgrammingError) or any(word in str(error) for word in _HOPELESS)
            kind = UsageError if wrong else Unavailable
            raise kind(f"DATABASE_URL: can't use {self._where}: {why}") from None
        self._connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._connection.read_only = True
        self.fetch("SELECT set_config('lock_timeout', ?, true)", (f"{LOCK_TIMEOUT_S}s",))

    def fetch(self, sql: str, values: Sequence[Any]) -> Rows:
        """See :class:`Database`."""
        try:
            return self._connection.execute(sql.replace("?", "%s").encode(), tuple(values)).fetchall()
        except psycopg.Error as error:
            raise self._translate(error) from None

    def has(self, table: str) -> bool:
        """See :class:`Database`."""
        return self.fetch("SELECT to_regclass(?)", (table,))[0][0] is not None

    def stream(self, sql: str, values: Sequence[Any]) -> Iterator[Rows]:
        """See :class:`Database`."""
        self._cursors += 1
        try:
            # A cursor with a name is the server's: it holds the rest of the rows.
            with self._connection.cursor(f"penstock_{self._cursors}") as cursor:
                cursor.execute(sql.replace("?", "%s").encode(), tuple(values))
                while rows := cursor.fetchmany(BATCH_ROWS):
                    yield rows
        except psycopg.Error as error:
            raise self._translate(error) from None

    def _translate(self, error: psycopg.Error) -> PenstockError:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, (psycopg.OperationalError, psycopg.errors.UndefinedTable)):
            return Unavailable(f"database {self._where} can't be read yet: {why}")
        return PenstockError(f"database {self._where} refuses a query: {why}")

    def close(self) -> None:
        """See :class:`Database`."""
        with suppress(psycopg.Error):
            self._connection.close()


def open_database(settings: Settings) -> Database:
    """Return a connection to what ``DATABASE_URL`` means. Raises Unavailable, UsageError."""
    url = settings.database_url.get_secret_value()
    if urlsplit(url).scheme != "sqlite":
        return Postgres(url)
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise UsageError(f"DATABASE_URL: {url!r} names no file; it must be sqlite:///FILE")
    return Sqlite(Path(path))
