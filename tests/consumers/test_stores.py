"""What a store promises, on both databases; and the clear line for each way in which a database can be wrong."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from consumers.postgres_store import PostgresStore
from consumers.sqlite_store import SqliteStore
from consumers.stores import Store, open_store
from consumers.view_files import load_views
from penstock.errors import ExitCode, PenstockError, Unavailable, UsageError
from penstock.settings import load_settings
from testbed.postgres import Postgres
from testbed.processes import free_port
from tests.consumers.builders import read

Connect = Callable[[], Store]

HOSTILE = ["", "a\tb", "\\.", "\n\\.\n", "\\N", '"', "'", "\r\n", "é\u2028😀", "NULL", "%s :name"]


def test_every_text_and_all_bytes_survive_a_merge(connect: Connect) -> None:
    store = connect()
    store.prepare(["CREATE TEMP TABLE IF NOT EXISTS staging_x (number BIGINT, words TEXT, raw BYTEA)"])
    raw = [None, b"", b"\0\xff\\x", *[bytes([n]) for n in range(len(HOSTILE) - 3)]]
    numbers = [None, -1, 2**62, *range(len(HOSTILE) - 3)]
    rows = pl.DataFrame({"number": numbers, "words": [*HOSTILE[:-1], None], "raw": raw})
    insert = "INSERT INTO kept SELECT number, words, raw, :n FROM staging_x"
    with store.transaction() as transaction:
        transaction.execute("CREATE TABLE kept (number BIGINT, words TEXT, raw BYTEA, time BIGINT)")
        for time in (1, 2):
            transaction.merge(insert.replace(":n", str(time)), "staging_x", rows)
        for time in (1, 2):
            kept = "SELECT number, words, raw FROM kept WHERE time = :time"
            assert list(transaction.fetch(kept, {"time": time})) == rows.rows()


@pytest.mark.parametrize("count", [1, 31, 32, 33, 511, 512, 513, 5_000])
def test_a_merge_of_any_number_of_rows_takes_each_once(connect: Connect, count: int) -> None:
    store = connect()
    store.prepare(["CREATE TEMP TABLE IF NOT EXISTS staging_x (number BIGINT, words TEXT)"])
    rows = pl.DataFrame({"number": range(count), "words": [f"word {number}" for number in range(count)]})
    with store.transaction() as transaction:
        transaction.execute("CREATE TABLE kept (number BIGINT PRIMARY KEY, words TEXT)")
        transaction.merge("INSERT INTO kept SELECT number, words FROM staging_x", "staging_x", rows)
    assert read(store, "kept") == rows.rows()


def test_no_view_has_more_columns_than_a_statement_of_sqlite_takes() -> None:
    widest = max(len(merge.columns) for view in load_views().values() for merge in view.merges.values())
    assert widest * 512 <= 32_766, "fewer rows a statement, see consumers/sqlite_store.py"


def test_a_failed_transaction_leaves_nothing_and_the_next_one_works(connect: Connect) -> None:
    store = connect()
    with store.exclusively() as transaction:
        transaction.execute("CREATE TABLE kept (number BIGINT PRIMARY KEY)")

    def insert_twice() -> None:
        with store.transaction() as transaction:
            transaction.execute("INSERT INTO kept VALUES (1)")
            transaction.execute("INSERT INTO kept VALUES (1)")

    with pytest.raises(PenstockError, match="refuses a statement"):
        insert_twice()
    with store.transaction() as transaction:
        assert transaction.execute("INSERT INTO kept VALUES (:n)", {"n": 2}) == 1
    assert read(store, "kept") == [(2,)]


def test_a_locked_sqlite_file_is_away_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "views.db"
    store = SqliteStore(path, busy_timeout_s=0.01)
    with store.transaction() as transaction:
        transaction.execute("CREATE TABLE kept (number BIGINT)")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="is locked by another program"), store.transaction():
        raise AssertionError
    other.execute("ROLLBACK")
    other.close()
    with store.transaction() as transaction:
        transaction.execute("INSERT INTO kept VALUES (1)")
    store.close()


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite:views.db", "sqlite:///:memory:"])
def test_a_sqlite_url_without_a_file_is_a_usage_error(url: str) -> None:
    with pytest.raises(UsageError, match="DATABASE_URL"):
        open_store(load_settings(database_url=url))


def test_a_file_that_is_no_database_is_a_usage_error(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader, " * 100)
    with pytest.raises(UsageError, match=r"letter.txt can't be opened"), SqliteStore(path).transaction():
        raise AssertionError
    with pytest.raises(UsageError, match="can't be opened"), SqliteStore(tmp_path / "no" / "x.db").transaction():
        raise AssertionError


def test_a_postgres_that_does_not_answer_is_away_and_its_password_is_not_told() -> None:
    store = PostgresStore(f"postgresql://me:secret@127.0.0.1:{free_port()}/views")
    with pytest.raises(Unavailable, match=r"does not answer") as caught, store.transaction():
        raise AssertionError
    assert "secret" not in str(caught.value)


@pytest.mark.real
def test_a_postgres_database_that_does_not_exist_is_a_usage_error(postgres: Postgres) -> None:
    store = PostgresStore(postgres.url.removesuffix("postgres") + "nowhere")
    with pytest.raises(UsageError, match='"nowhere" does not exist') as caught, store.transaction():
        raise AssertionError
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.real
def test_a_postgres_connection_that_breaks_is_opened_again(postgres: Postgres) -> None:
    store = PostgresStore(postgres.create_database("consumers_broken"))
    store.prepare(["CREATE TEMP TABLE IF NOT EXISTS staging_x (number BIGINT)"])

    def lose_the_connection() -> None:
        with store.transaction() as transaction:
            transaction.execute("CREATE TABLE lost (number BIGINT)")
            transaction.fetch("SELECT pg_terminate_backend(pg_backend_pid())")

    with pytest.raises(Unavailable, match="is away"):
        lose_the_connection()
    with store.transaction() as transaction:
        rows = pl.DataFrame({"number": [1, 2]})
        transaction.merge("CREATE TABLE kept AS SELECT number FROM staging_x", "staging_x", rows)
        assert transaction.fetch("SELECT to_regclass('lost'), count(*) FROM kept") == [(None, 2)]
    store.close()
