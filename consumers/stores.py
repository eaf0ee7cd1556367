"""The databases that views live in: what they promise alike, and which one a ``DATABASE_URL`` means.

One dialect of SQL serves both; what differs is in :class:`consumers.view_files.Dialect`. Statements of ours take
parameters as ``:name``.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import urlsplit

import polars as pl

from consumers.view_files import Dialect
from penstock.settings import Settings

Row = tuple[Any, ...]


class Transaction(Protocol):
    """An open transaction: all of it is kept, or nothing."""

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        """Run a statement; return how many rows it changed."""

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Run a query; return its rows."""

    def merge(self, sql: str, table: str, rows: pl.DataFrame) -> None:
        """Run the statement ``sql``, to which ``rows`` are the staging ``table``, with its columns in its order.

        It may be run on one piece of the rows after the other, as if each were a batch.
        """


class Store(Protocol):
    """A database. Connects on first use and again after a failure; one thread at a time.

    All methods raise :class:`penstock.errors.Unavailable` when it is away, locked or full (nothing of the transaction
    is kept then, unless the answer to its commit was lost), :class:`penstock.errors.UsageError` when
    ``DATABASE_URL`` can't be right, :class:`penstock.errors.PenstockError` when it refuses a statement.
    """

    dialect: Dialect

    def prepare(self, staging: Iterable[str]) -> None:
        """Say what makes the staging tables, for a database that needs some: run on each connection from now on."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Open a transaction; it commits at the end of the block, and rolls back on an exception."""

    def snapshot(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only reads, and sees one state of the database."""

    def exclusively(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only one process has at a time: for making tables."""

    def close(self) -> None:
        """Close the connection; the next use opens it again."""


def staging_table(name: str, columns: Mapping[str, str]) -> str:
    """Return the statement that makes a staging table."""
    return f"CREATE TEMP TABLE IF NOT EXISTS {name} ({', '.join(f'{c} {kind}' for c, kind in columns.items())})"


def open_store(settings: Settings) -> Store:
    """Return the database that ``DATABASE_URL`` means. Nothing is opened yet."""
    url = settings.database_url.get_secret_value()
    if urlsplit(url).scheme == "sqlite":
        from consumers.sqlite_store import SqliteStore

        return SqliteStore.from_url(url)
    from consumers.postgres_store import PostgresStore

    return PostgresStore(url)
