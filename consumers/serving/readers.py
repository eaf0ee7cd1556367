"""Connections that can only read, with an end to each query: what the API and the live page ask the database by.

They are the stores of the stage, opened so that the database itself refuses to change anything.
"""

import sqlite3
import time
from contextlib import AbstractContextManager
from typing import Protocol, cast
from urllib.parse import quote

import psycopg

from consumers.postgres_store import PostgresStore
from consumers.serving.look import NotNow
from consumers.sqlite_store import SqliteStore
from consumers.stores import Row, Transaction
from consumers.view_files import Dialect
from penstock.errors import PenstockError
from penstock.settings import Settings

_LOOK_EVERY_STEPS = 20_000
"""SQLite asks this often (in steps of its machine, a few hundred microseconds) whether a query has had its time."""


def open_reader(settings: Settings, limit_s: float) -> "ReadingStore":
    """Return a read-only store on the database of ``DATABASE_URL``; a query that takes longer than ``limit_s`` ends."""
    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite:"):
        store = cast(SqliteReader, SqliteReader.from_url(url))
        store.limit_s = limit_s
        return store
    return PostgresReader(url, limit_s)


class ReadingStore(Protocol):
    """What is used of such a store."""

    TABLES: str
    """A query of the names of tables in the database, with ``:name`` for the one that is asked for."""

    dialect: Dialect

    def snapshot(self) -> AbstractContextManager[Transaction]:
        """See :class:`consumers.stores.Store`."""

    def close(self) -> None:
        """See :class:`consumers.stores.Store`."""


class SqliteReader(SqliteStore):
    """A SQLite file, opened for reading. It is not made when it is not there."""

    TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = :name"
    limit_s = 5.0
    _until = 0.0

    def snapshot(self) -> AbstractContextManager[Transaction]:  # type: ignore[override]  # that it is one of ours
        """See :class:`consumers.stores.Store`; the time for all queries of the block is limited."""
        self._until = time.monotonic() + self.limit_s
        return super().snapshot()

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(
                f"file:{quote(str(self._path))}?mode=ro", uri=True, timeout=self._busy_timeout_s,
                isolation_level=None, check_same_thread=False,
            )  # fmt: skip
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA cache_size = -16384")
            connection.set_progress_handler(lambda: time.monotonic() > self._until, _LOOK_EVERY_STEPS)
            self._connection = connection
        return self._connection

    def _translate(self, error: sqlite3.Error) -> PenstockError:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_CANTOPEN:
            return NotNow("the database is not there yet: `penstock materialize` makes it")
        if code == sqlite3.SQLITE_INTERRUPT:
            return NotNow(f"the database took longer than {self.limit_s:g} s")
        return super()._translate(error)


class PostgresReader(PostgresStore):
    """A Postgres database, by sessions that can only read; any role will do that may."""

    TABLES = "SELECT relname FROM pg_class WHERE oid = to_regclass(:name)"

    def __init__(self, url: str, limit_s: float) -> None:
        super().__init__(url)
        self._limit_s = limit_s

    def _connected(self) -> psycopg.Connection[Row]:
        fresh = self._connection is None
        connection = super()._connected()
        if fresh:
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = {int(self._limit_s * 1000)}".encode())
            connection.execute("SET idle_in_transaction_session_timeout = '60s'")
        return connection

    def _translate(self, error: psycopg.Error) -> PenstockError:
        if isinstance(error, psycopg.errors.QueryCanceled):
            return NotNow(f"the database took longer than {self._limit_s:g} s")
        return super()._translate(error)
