"""Views in Postgres, 15 and newer."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import polars as pl
import psycopg

from consumers.stores import Row
from consumers.view_files import Dialect
from penstock.errors import PenstockError, Unavailable, UsageError
from penstock.postgres import keepalives
from penstock.settings import mask_url

CONNECT_TIMEOUT_S = 10
LOCK_TIMEOUT_S = 5
"""Who waits longer for a lock says so, answers the broker meanwhile, and tries again."""

_PARAMETER = re.compile(r":(\w+)")
_LOCK = 0x50454E53
"""Key of the advisory lock under which tables are made ("PENS")."""

_HOPELESS = (
    "does not exist", "authentication failed", "no pg_hba.conf entry", "invalid ", "no password supplied",
    "certificate verify failed", "does not match host name", "does not support SSL",
)  # fmt: skip
"""What Postgres says to an address that will not become right by waiting."""


def _utc(expression: str) -> str:
    # Multiplying an interval is exact, where to_timestamp of a fraction is not for far years.
    return f"(TIMESTAMPTZ 'epoch' + ({expression}) * INTERVAL '1 millisecond')"


class PostgresStore:
    """A Postgres database; see :class:`consumers.stores.Store`."""

    # A row's next version finds room on the page where it is, and so the index need not be told.
    dialect = Dialect(
        {"text": 'TEXT COLLATE "C"', "clustered": "WITH (fillfactor = 70)"},
        {"utc": _utc, "sorted": lambda columns: f"ORDER BY {columns}"},
    )

    def __init__(self, url: str) -> None:
        self._url = url
        self._staging: tuple[str, ...] = ()
        self._connection: psycopg.Connection[Row] | None = None

    def prepare(self, staging: Iterable[str]) -> None:
        """See :class:`consumers.stores.Store`."""
        self._staging = tuple(f"{statement} ON COMMIT DELETE ROWS" for statement in staging)
        self.close()

    @contextmanager
    def transaction(self) -> Iterator["_PostgresTransaction"]:
        """See :class:`consumers.stores.Store`."""
        connection = self._connected()
        try:
            with connection.transaction():
                yield _PostgresTransaction(connection)
        except psycopg.Error as error:
            raise self._translate(error) from error

    @contextmanager
    def snapshot(self) -> Iterator["_PostgresTransaction"]:
        """See :class:`consumers.stores.Store`."""
        with self.transaction() as transaction:
            transaction.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield transaction

    @contextmanager
    def exclusively(self) -> Iterator["_PostgresTransaction"]:
        """See :class:`consumers.stores.Store`."""
        with self.transaction() as transaction:
            transaction.fetch("SELECT pg_advisory_xact_lock(:lock)", {"lock": _LOCK})
            yield transaction

    def close(self) -> None:
        """See :class:`consumers.stores.Store`."""
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Row]:
        if self._connection is None:
            try:
                connection = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, **keepalives(self._url)
                )
            except psycopg.Error as error:
                raise self._explain_connect(error) from error
            session = ("SET client_min_messages = warning", f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
            try:
                for statement in (*session, *self._staging):
                    connection.execute(statement.encode())
            except psycopg.Error as error:
                connection.close()
                raise self._translate(error) from error
            self._connection = connection
        return self._connection

    def _explain_connect(self, error: psycopg.Error) -> PenstockError:
        # Behind the first line come hints, after a heading all attempts.
        lines = [line for line in str(error).splitlines() if line.strip() and not line.startswith("Multiple ")]
        why = lines[0].strip() if lines else type(error).__name__
        where = mask_url(self._url)
        if isinstance(error, psycopg.ProgrammingError) or any(word in str(error) for word in _HOPELESS):
            return UsageError(f"DATABASE_URL: can't use {where}: {why}")
        return Unavailable(f"database {where} does not answer: {why}")

    def _translate(self, error: psycopg.Error) -> PenstockError:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        away = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.errors.ReadOnlySqlTransaction)
        if isinstance(error, away):
            self.close()
            return Unavailable(f"database {mask_url(self._url)} is away: {why}")
        return PenstockError(f"database {mask_url(self._url)} refuses a statement: {why}")


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def execute(self, sql: str, parameters: Mapping[str, Any] | None = None) -> int:
        return self._run(sql, parameters).rowcount

    def fetch(self, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        return self._run(sql, parameters).fetchall()

    def merge(self, sql: str, table: str, rows: pl.DataFrame) -> None:
        self._run(f"DELETE FROM {table}", None)  # noqa: S608  # a name of ours; empty unless it is merged twice
        with self._connection.cursor() as cursor, cursor.copy(
            f"COPY {table} ({', '.join(rows.columns)}) FROM STDIN".encode()
        ) as copy:
            copy.write(copy_text(rows))
        self._run(sql, None)

    def _run(self, sql: str, parameters: Mapping[str, Any] | None) -> psycopg.Cursor[Row]:
        if parameters is None:
            return self._connection.execute(sql.encode())
        return self._connection.execute(_PARAMETER.sub(r"%(\1)s", sql.replace("%", "%%")).encode(), parameters)


_ESCAPES = (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r"))


def copy_text(rows: pl.DataFrame) -> bytes:
    """Return ``rows`` in the text format of Postgres' COPY, made in columns.

    Not its CSV: before version 17 a line ``\\.`` inside a quoted text ends the data there.
    """
    out = io.BytesIO()
    rows.with_columns(_escaped(name, kind) for name, kind in rows.schema.items()).write_csv(
        out, include_header=False, separator="\t", quote_style="never", null_value="\\N"
    )
    return out.getvalue()


def _escaped(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.Binary:
        return ("\\\\x" + column.bin.encode("hex")).alias(name)
    if kind == pl.String:
        for character, escape in _ESCAPES:
            column = column.str.replace_all(character, escape, literal=True)
    return column
