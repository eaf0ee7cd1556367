"""`penstock verify` on an embedded broker: proved when all is right, and each damage named for what it is."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli import build_app
from penstock.errors import ExitCode, GaveUpWaiting, ProtectiveStop
from penstock.frontier import Fates
from penstock.schema_ids import LockedIds
from penstock.settings import Settings
from referee.compare import ABSENT, PRESENT, ROW
from referee.verify import verify
from simulation.model import PANE_MS, Entry, Told
from testbed.postgres import Postgres
from tests.processors.logs import FIRST_PANE, entry, heartbeat, order
from tests.referee import stage
from tests.referee.damage import KEYS, change, judged, names_the_row, row_of, where
from tests.referee.stage import Partition

CELLS = (
    ("order_metrics", "orders"), ("order_metrics", "revenue_e4"), ("order_metrics", "largest_order_e4"),
    ("order_metrics", "cancelled_e4"), ("order_metrics", "final"),
    ("product_sales", "units"), ("product_sales", "revenue_e4"),
    ("telemetry_metrics", "readings"), ("telemetry_metrics", "sum_e6"), ("telemetry_metrics", "last_event_id"),
    ("reading_quantiles", "readings"), ("distinct_customers", "r7"), ("pane_counts", "applied"),
    ("orders", "amount_e4"), ("orders", "paid_at"), ("orders", "carrier"), ("orders", "cancelled_country"),
    ("devices", "firmware"), ("devices", "battery_percent"),
    ("device_readings", "value_e6"), ("device_readings", "reading_id"),
    ("late_events", "watermark"), ("late_events", "event_id"), ("late_events", "value"),
    ("dead_letters", "reason"), ("dead_letters", "value"),
)  # fmt: skip


def test_views_that_are_right_are_proved_while_the_pipeline_is_in_the_middle_of_its_work(world: Settings) -> None:
    verdict = judged(world)
    assert verdict.differences.rows == []
    assert verdict.proved
    assert verdict.events == sum(part.end for part in stage.partitions())
    assert all(verdict.rows[table] > 0 for table in KEYS)
    fates = [book.frontier.fates for book in verdict.books if book.settled]
    assert len(fates) == 4
    assert all(min(f.applied, f.duplicate, f.late, f.dead, f.control) > 0 for f in fates)


@pytest.mark.parametrize(("table", "column"), CELLS)
def test_one_damaged_cell_is_named(copied: tuple[Settings, Path], table: str, column: str) -> None:
    settings, path = copied
    row = row_of(path, table, f"{column} IS NOT NULL" if column != "final" else "final = 1")
    right = row[column]
    wrong = {int: lambda: 1 - right if column == "final" else right + 1}.get(type(right), lambda: right + right)()
    condition, values = where(table, row)
    change(path, f"UPDATE {table}_v1 SET {column} = ? WHERE {condition}", (wrong, *values))
    verdict = judged(settings)
    assert not verdict.proved
    (difference,) = verdict.differences.rows
    assert difference.view == table
    assert difference.column.removesuffix("_hash") == column
    assert names_the_row(difference.key, table, row)


@pytest.mark.parametrize("table", KEYS)
def test_one_row_that_is_gone_is_named(copied: tuple[Settings, Path], table: str) -> None:
    settings, path = copied
    row = row_of(path, table, "final = 1" if "final" in row_of(path, table) else "true")
    condition, values = where(table, row)
    change(path, f"DELETE FROM {table}_v1 WHERE {condition}", values)
    (difference,) = judged(settings).differences.rows
    assert (difference.view, difference.column, difference.in_view, difference.by_log) == (table, ROW, ABSENT, PRESENT)
    assert names_the_row(difference.key, table, row)


@pytest.mark.parametrize("table", KEYS)
def test_one_row_too_many_is_named(copied: tuple[Settings, Path], table: str) -> None:
    settings, path = copied
    invented = {"order_id": "o-none", "device_id": "d-none", "source_offset": 1, "country": "XX", "sku": "none"}
    invented |= {"bucket_e6": 7, "block": 511}
    row = row_of(path, table)
    row |= {name: value for name, value in invented.items() if name in KEYS[table]}
    if table == "pane_counts":
        row["window_start"] += 1_000 * PANE_MS
    marks = ", ".join("?" * len(row))
    change(path, f"INSERT INTO {table}_v1 ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    (difference,) = judged(settings).differences.rows
    assert (difference.view, difference.column, difference.in_view, difference.by_log) == (table, ROW, PRESENT, ABSENT)
    assert names_the_row(difference.key, table, row)


@pytest.mark.parametrize("table", [name for name in KEYS if "source_partition" in KEYS[name]])
def test_a_row_of_a_partition_that_does_not_exist_is_named(copied: tuple[Settings, Path], table: str) -> None:
    settings, path = copied
    row = row_of(path, table) | {"source_partition": 99}
    marks = ", ".join("?" * len(row))
    change(path, f"INSERT INTO {table}_v1 ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    found = [d for d in judged(settings).differences.rows if d.view == table]
    assert [(d.column, d.in_view) for d in found] == [(ROW, PRESENT)]
    assert "source_partition=99" in found[0].key


def test_a_value_that_is_no_whole_number_is_a_difference_and_no_crash(copied: tuple[Settings, Path]) -> None:
    settings, path = copied
    row = row_of(path, "order_metrics", "revenue_e4 > 0")
    condition, values = where("order_metrics", row)
    change(path, f"UPDATE order_metrics_v1 SET revenue_e4 = ? WHERE {condition}", (row["revenue_e4"] + 0.5, *values))
    assert not judged(settings).proved


def test_a_relation_that_says_something_else_than_its_table_is_named(copied: tuple[Settings, Path]) -> None:
    settings, path = copied
    connection = sqlite3.connect(path)
    (sql,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'order_metrics_by_hour'").fetchone()
    connection.execute("DROP VIEW order_metrics_by_hour")
    connection.execute(sql.replace("sum(units)", "max(units)"))
    connection.commit()
    connection.close()
    found = judged(settings).differences.rows
    assert {(d.view, d.column) for d in found} == {("order_metrics_by_hour (relation)", "units")}


def test_the_command_prints_json_and_ends_with_one_when_it_differs(
    copied: tuple[Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, path = copied
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    right = CliRunner().invoke(build_app(), ["verify"])
    assert right.exit_code == ExitCode.OK
    assert right.stdout.rstrip().endswith("PROVED")
    row = row_of(path, "orders")
    change(path, "UPDATE orders_v1 SET order_id = 'nobody' WHERE order_id = ?", (row["order_id"],))
    wrong = CliRunner().invoke(build_app(), ["verify", "--json"])
    assert wrong.exit_code == ExitCode.FAILED
    document = json.loads(wrong.stdout)
    assert document["proved"] is False
    assert {d["key"] for d in document["differences"]} == {f"order_id={row['order_id']}", "order_id=nobody"}


Outcome = Callable[..., tuple[Settings, Partition]]


@pytest.fixture
def one(tmp_path: Path) -> Iterator[Outcome]:
    """Make the outcome of a single partition of orders, with a wrong frontier if need be."""
    with stage.embedded_broker() as bootstrap:

        def make(entries: list[Entry] | None = None, **changed: Any) -> tuple[Settings, Partition]:
            settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
            told = Told(stage.log_of("orders", 3, 60) if entries is None else entries)
            part = Partition("orders", 0, told, len(told.entries))
            stage.produce(settings, [part])
            stage.commit(settings, part, stage.frontier_of(settings, part, **changed))
            stage.fill_views(settings, [part])
            return settings, part

        yield make


def test_books_that_count_a_fate_wrong_are_named(one: Outcome) -> None:
    settings, part = one()
    right = stage.frontier_of(settings, part).fates
    wrong = replace(right, applied=right.applied - 1, late=right.late + 1)
    stage.commit(settings, part, stage.frontier_of(settings, part, fates=wrong))
    found = judged(settings).differences.rows
    assert [(d.view, d.key, d.column) for d in found] == [
        ("books", "orders/0", "applied"), ("books", "orders/0", "late"),
    ]  # fmt: skip


def test_books_that_do_not_balance_are_named(one: Outcome) -> None:
    settings, _ = one(fates=Fates())
    assert ("books", "imbalance") in {(d.view, d.column) for d in judged(settings).differences.rows}


@pytest.mark.parametrize(
    ("changed", "why"), [({"topic_id": "gone"}, "recreated"), ({"fingerprint": "0" * 12}, "configuration")]
)
def test_another_topic_or_configuration_stops(one: Outcome, changed: dict[str, str], why: str) -> None:
    settings, _ = one(**changed)
    with pytest.raises(ProtectiveStop, match=why):
        judged(settings)


def test_views_that_are_behind_are_waited_for_and_then_given_up(one: Outcome, tmp_path: Path) -> None:
    settings, part = one()
    change(tmp_path / "views.db", "UPDATE offsets SET next = next - 1")
    with pytest.raises(GaveUpWaiting, match=rf"orders has read orders/0 up to {part.position - 1}, not yet to"):
        verify(settings, LockedIds(), 1.0)


def test_a_database_that_is_not_there_is_waited_for_and_then_given_up(one: Outcome, tmp_path: Path) -> None:
    settings, _ = one()
    os.remove(tmp_path / "views.db")
    with pytest.raises(GaveUpWaiting, match="no view database"):
        verify(settings, LockedIds(), 1.0)


def test_a_log_that_nobody_has_folded_is_not_proved(tmp_path: Path) -> None:
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
        stage.produce(settings, [Partition("orders", 0, Told(stage.log_of("orders", 3, 5)), 5)])
        with pytest.raises(GaveUpWaiting, match="no processor has committed orders/0"):
            verify(settings, LockedIds(), 1.0)


def torn_log() -> list[Entry]:
    """A log whose first part the embedded broker drops: it keeps about 5 MB a partition."""
    big = [Entry(offset, FIRST_PANE, "?", None, b"j" * 240_000) for offset in range(40)]
    begin, behind = len(big), FIRST_PANE + 10 * PANE_MS
    good = [
        entry("orders", "OrderPlaced", order("OrderPlaced", n, FIRST_PANE + n * 20_000, n), begin + n, behind)
        for n in range(40)
    ]
    return [*big, *good, entry("orders", "Heartbeat", heartbeat(99, behind + 4 * PANE_MS), begin + 40, behind)]


def test_what_the_log_no_longer_holds_is_a_share_that_is_not_proved(one: Outcome, tmp_path: Path) -> None:
    settings, part = one(torn_log())
    verdict = judged(settings)
    assert verdict.differences.rows == []
    assert 0 < verdict.unproved_share < 40 / part.end
    assert not verdict.proved
    accepting = settings.model_copy(update={"accept_trimmed_log": True})
    assert judged(accepting).proved
    row = row_of(tmp_path / "views.db", "order_metrics", f"window_start > {FIRST_PANE + 7 * PANE_MS}")
    condition, values = where("order_metrics", row)
    change(tmp_path / "views.db", f"UPDATE order_metrics_v1 SET orders = orders + 1 WHERE {condition}", values)
    (difference,) = judged(accepting).differences.rows
    assert names_the_row(difference.key, "order_metrics", row)


def test_views_in_postgres_are_proved_and_damage_is_named(world: Settings, postgres: Postgres) -> None:
    import psycopg

    url = postgres.create_database("referee_verify")
    settings = world.model_copy(update={"database_url": type(world.database_url)(url)})
    stage.fill_views(settings, stage.partitions())
    assert judged(settings).differences.rows == []
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE orders_v1 SET amount_e4 = amount_e4 + 1 WHERE order_id = 'o1000000'")
        connection.execute("DELETE FROM late_events_v1 WHERE source_partition = 0 AND source_topic = 'orders'")
    found = judged(settings).differences
    assert {d.view for d in found.rows} == {"orders", "late_events"}
    assert found.counts["orders"] == 1
