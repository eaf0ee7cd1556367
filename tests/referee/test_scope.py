"""`penstock verify` in pieces, of some views, since a time; what it says of offsets, and of ids in two partitions."""

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from penstock.cli import build_app
from penstock.errors import ExitCode, UsageError
from penstock.frontier import Fates, Frontier
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, NO_TIME, fingerprint
from penstock.settings import Settings
from referee import database, log_reader, spill, topic_trial
from referee.compare import ABSENT, PRESENT, ROW, places_text
from referee.log_reader import LogReader
from referee.partition import Asked, Beginning, Extent, beginning, extent_of
from referee.report import Verdict, print_verdict
from referee.scope import VIEWS, Scope
from referee.since import since_ms
from simulation.model import PANE_MS, Told
from tests.processors.logs import FIRST_PANE, entry, order
from tests.referee import stage
from tests.referee.damage import change, damage, judged, row_of, where
from tests.referee.stage import Partition
from tests.referee.worlds import read

Copied = tuple[Settings, Path]


def in_pieces(monkeypatch: pytest.MonkeyPatch, records: int) -> None:
    """Let the referee hold very little of anything."""
    monkeypatch.setattr(log_reader, "CHUNK_RECORDS", records)
    monkeypatch.setattr(database, "BATCH_ROWS", max(1, records // 2))
    monkeypatch.setattr(spill, "HELD_ROWS", records)
    monkeypatch.setattr(spill, "BUCKET_ROWS", 10 * records)


@pytest.fixture
def damaged(copied: Copied) -> Settings:
    """A database with one wrong cell in each kind of view, a row that is gone and one too many."""
    settings, path = copied
    damage(path, "order_metrics", "revenue_e4", "final = 1")
    damage(path, "product_sales", "units", "final = 0")
    damage(path, "telemetry_metrics", "last_event_id")
    damage(path, "orders", "amount_e4")
    damage(path, "device_readings", "unit")
    damage(path, "dead_letters", "reason")
    row = row_of(path, "late_events")
    condition, values = where("late_events", row)
    change(path, f"DELETE FROM late_events_v1 WHERE {condition}", values)
    invented = row_of(path, "orders") | {"order_id": "o-none"}
    marks = ", ".join("?" * len(invented))
    change(path, f"INSERT INTO orders_v1 ({', '.join(invented)}) VALUES ({marks})", tuple(invented.values()))
    return settings


@pytest.mark.parametrize("records", [4, 64])
def test_the_size_of_pieces_changes_nothing_that_is_found(
    damaged: Settings, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    whole = judged(damaged)
    assert len(whole.differences.rows) == 8
    in_pieces(monkeypatch, records)
    parts = judged(damaged)
    assert parts.differences.rows == whole.differences.rows
    assert parts.rows == whole.rows
    assert [book.as_json() for book in parts.books] == [book.as_json() for book in whole.books]
    assert parts.most_rows_held < whole.most_rows_held


def test_a_metric_that_differs_names_the_events_behind_it(copied: Copied) -> None:
    settings, path = copied
    row = damage(path, "order_metrics", "orders", "final = 1 AND orders > 2")
    part = stage.partitions()[row["source_partition"]]
    behind = [
        item.offset
        for item in part.told.applied(part.end)
        if item.event is not None
        and item.event.get("country") == row["country"]
        and item.record in ("OrderPlaced", "OrderCancelled")
        and item.event["occurred_at"] // PANE_MS * PANE_MS == row["window_start"]
    ]
    (difference,) = judged(settings).differences.rows
    assert difference.offsets == places_text("orders", row["source_partition"], behind)


def test_an_order_that_differs_names_the_event_that_owns_the_column(copied: Copied) -> None:
    settings, path = copied
    row = damage(path, "orders", "carrier")
    behind = [
        (part.number, item.offset)
        for part in stage.partitions()
        for item in part.told.entries
        if item.event is not None and item.event["event_id"] == row["shipped_id"]
    ]
    (difference,) = judged(settings).differences.rows
    assert difference.offsets == f"orders/{behind[0][0]}: {behind[0][1]}"


def test_a_row_that_is_gone_names_all_its_events_and_one_that_is_too_many_none(copied: Copied) -> None:
    settings, path = copied
    row = row_of(path, "late_events")
    change(path, "DELETE FROM late_events_v1 WHERE source_offset = ? AND source_partition = ? AND source_topic = ?",
           (row["source_offset"], row["source_partition"], row["source_topic"]))  # fmt: skip
    order_row = row_of(path, "orders", "placed_at IS NOT NULL")
    change(path, "UPDATE orders_v1 SET order_id = 'nobody' WHERE order_id = ?", (order_row["order_id"],))
    found = {(d.view, d.in_view): d.offsets for d in judged(settings).differences.rows}
    assert found["late_events", ABSENT] == f"{row['source_topic']}/{row['source_partition']}: {row['source_offset']}"
    assert found["orders", ABSENT].startswith("orders/")
    assert found["orders", PRESENT] == ""


@pytest.mark.parametrize(
    ("offsets", "words"),
    [([], ""), ([3], "t/0: 3"), ([1, 2, 3, 4, 5], "t/0: 1, 2, 3, 4, 5"),
     ([1, 2, 3, 4, 5, 9], "t/0: 1, 2, 3, 4 … 9 (6 events)")],
)  # fmt: skip
def test_many_offsets_are_told_in_short(offsets: list[int], words: str) -> None:
    assert places_text("t", 0, offsets) == words


def test_only_the_views_that_are_asked_for_are_compared(damaged: Settings) -> None:
    verdict = judged(damaged, Scope(frozenset({"orders"})))
    assert {d.view for d in verdict.differences.rows} == {"orders"}
    assert set(verdict.rows) == {"orders"}
    assert {book.topic for book in verdict.books} == {"orders"}
    assert judged(damaged, Scope(frozenset({"pane_counts", "devices"}))).differences.counts == {"device_readings": 1}


def test_a_view_that_is_behind_is_not_waited_for_unless_it_is_asked_for(copied: Copied) -> None:
    settings, path = copied
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE offsets SET next = 0 WHERE view = 'devices'")
    connection.close()
    assert judged(settings, Scope(frozenset({"orders", "late_events"}))).proved


def test_a_view_that_does_not_exist_is_refused_with_the_names_of_all() -> None:
    with pytest.raises(UsageError, match=rf"no view 'order'; there are {', '.join(VIEWS)}"):
        Scope(frozenset({"order"}))


SINCE = FIRST_PANE + 3 * PANE_MS


def shown(verdict: Verdict) -> str:
    out = StringIO()
    print_verdict(verdict, Console(file=out, width=200))
    return out.getvalue()


def test_since_a_time_only_what_can_be_decided_from_there_is_compared(copied: Copied) -> None:
    settings, path = copied
    scope = Scope(since_ms=SINCE - 1)
    right = judged(settings, scope)
    assert right.proved
    assert right.differences.rows == []
    assert 0 < right.rows["order_metrics"] < judged(settings).rows["order_metrics"]
    assert right.left_out["order_metrics"] > 0
    assert right.left_out["orders"] > 0
    assert all(book.recounted is None for book in right.books)
    assert datetime.fromtimestamp(SINCE / 1_000, UTC).isoformat() in shown(right)
    assert "rows left out" in shown(right)
    damage(path, "order_metrics", "orders", f"window_start < {SINCE}")
    damage(path, "orders", "amount_e4", f"coalesce(placed_at, 0) < {SINCE}")
    assert judged(settings, scope).proved
    later = damage(path, "order_metrics", "orders", f"window_start >= {SINCE} AND final = 1")
    paid = damage(path, "orders", "method", f"coalesce(paid_at, 0) >= {SINCE}")
    found = {(d.view, d.column, d.key) for d in judged(settings, scope).differences.rows}
    key = " ".join(f"{name}={later[name]}" for name in ("source_partition", "window_start", "country"))
    assert found == {("order_metrics", "orders", key), ("orders", "method", f"order_id={paid['order_id']}")}


def test_an_order_newer_than_the_time_that_no_event_names_is_found(copied: Copied) -> None:
    settings, path = copied
    row = row_of(path, "orders", f"coalesce(placed_at, 0) >= {SINCE}") | {"order_id": "o-none"}
    marks = ", ".join("?" * len(row))
    change(path, f"INSERT INTO orders_v1 ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    (difference,) = judged(settings, Scope(since_ms=SINCE)).differences.rows
    assert (difference.key, difference.column, difference.in_view) == ("order_id=o-none", ROW, PRESENT)


def test_since_a_time_after_the_last_event_there_is_nothing_to_compare(world: Settings) -> None:
    verdict = judged(world, Scope(since_ms=FIRST_PANE + 1_000 * PANE_MS))
    assert verdict.proved
    assert verdict.rows["order_metrics"] == 0


class Log:
    """A partition's bounds, and where its append times stand: one record a second."""

    def __init__(self, low: int, high: int) -> None:
        self._bounds = low, high

    def bounds(self, _topic: str, _partition: int) -> tuple[int, int]:
        return self._bounds

    def offset_at(self, _topic: str, _partition: int, append_ms: int) -> int | None:
        low, high = self._bounds
        return max(low, append_ms // 1_000) if append_ms // 1_000 < high else None


def asked(low: int, from_ms: int | None, start: int = 0) -> Extent:
    frontier = Frontier("id", start, 9_000, 0, fingerprint(), Fates())
    reader: Any = Log(low, 10_000)
    settings = stage.settings_of("nowhere:1", "sqlite:///none").model_copy(update={"embedded": False})
    return extent_of(Asked("orders", 0, frontier, 9_500, from_ms), reader, settings)


def test_reading_since_a_time_begins_where_no_event_of_that_time_can_be_before() -> None:
    from_ms = 60 * PANE_MS
    extent = asked(0, from_ms)
    assert (extent.start, extent.end) == ((from_ms - MAX_AHEAD_MS) // 1_000, 9_500)
    assert not extent.torn
    assert beginning(extent, None) == Beginning(from_ms + ALLOWED_DISORDER_MS, from_ms, from_ms)


def test_reading_since_a_time_that_has_no_records_reads_nothing() -> None:
    extent = asked(0, 1 << 40)
    assert extent.start == extent.end == 10_000


def test_of_a_trimmed_log_what_is_asked_for_behind_the_gap_is_not_torn() -> None:
    assert asked(500, None).torn
    assert asked(500, MAX_AHEAD_MS).torn
    assert not asked(500, 60 * PANE_MS).torn


def test_of_a_torn_log_only_panes_behind_the_gap_and_the_time_are_proved() -> None:
    log, _ = read("orders", [entry("orders", "OrderPaid", order("OrderPaid", 1, FIRST_PANE, 1), 500)])
    torn_until = beginning(asked(500, None), log).panes_from_ms
    assert torn_until is not None
    assert torn_until > FIRST_PANE
    assert beginning(asked(500, MAX_AHEAD_MS), log).panes_from_ms == torn_until


def test_of_a_whole_log_everything_can_be_proved() -> None:
    assert beginning(asked(0, None), None) == Beginning(NO_TIME, None, None)


@pytest.fixture
def in_real_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Copied]:
    """Twelve minutes of events, each appended as it happened, on a broker that knows offsets by time."""
    entries = [
        replace(item, appended_ms=FIRST_PANE + item.offset * 2_000 + 8_000)
        for item in stage.closing("orders", stage.log_of("orders", 3, 360))
    ]
    part = Partition("orders", 0, Told(entries), len(entries))

    def offset_at(_reader: LogReader, _topic: str, partition: int, append_ms: int) -> int | None:
        assert partition == 0
        return next((item.offset for item in entries if item.appended_ms >= append_ms), None)

    def extent(asked_for: Asked, reader: LogReader, settings: Settings) -> Extent:
        return extent_of(asked_for, reader, settings.model_copy(update={"embedded": asked_for.frontier.position == 0}))

    monkeypatch.setattr(LogReader, "offset_at", offset_at)
    monkeypatch.setattr(topic_trial, "extent_of", extent)
    with stage.embedded_broker() as bootstrap:
        path = tmp_path / "views.db"
        settings = stage.settings_of(bootstrap, f"sqlite:///{path}")
        stage.produce(settings, [part])
        stage.commit(settings, part, stage.frontier_of(settings, part))
        stage.fill_views(settings, [part])
        yield settings, path


def test_since_a_time_the_log_is_read_from_its_middle_and_says_the_same(in_real_time: Copied) -> None:
    settings, path = in_real_time
    begin = FIRST_PANE + 9 * PANE_MS
    whole, later = judged(settings), judged(settings, Scope(since_ms=begin))
    assert whole.proved
    assert later.differences.rows == []
    assert later.proved
    assert 0 < later.events < whole.events - 100
    assert 0 < later.rows["order_metrics"] < whole.rows["order_metrics"]
    assert later.left_out["orders"] > 50
    right = row_of(path, "product_sales", f"window_start >= {begin}")
    damage(path, "product_sales", "units", f"window_start = {right['window_start']}")
    damage(path, "product_sales", "units", f"window_start < {begin}")
    (difference,) = judged(settings, Scope(since_ms=begin)).differences.rows
    assert f"window_start={right['window_start']}" in difference.key
    assert judged(settings).differences.total == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [("2h", 10**12 - 7_200_000), ("30m", 10**12 - 1_800_000), ("7d", 10**12 - 604_800_000), ("90s", 10**12 - 90_000),
     ("1970-01-01T00:01:00", 60_000), ("1970-01-01T01:01:00+01:00", 60_000), ("1970-01-02", 86_400_000),
     ("1970-01-01T00:00:01.5Z", 1_500), ("999999d", 0)],
)  # fmt: skip
def test_a_time_is_a_moment_or_how_long_ago(words: str, expected: int) -> None:
    assert since_ms(words, 10**12) == expected


@pytest.mark.parametrize("words", ["", "2 weeks", "yesterday", "-1h", "2026-13-01"])
def test_a_time_that_is_none_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="--since"):
        since_ms(words, 0)


@pytest.fixture
def twice(tmp_path: Path) -> Iterator[Settings]:
    """The same events in two partitions, and views that say so."""
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
        told = Told(stage.closing("orders", stage.log_of("orders", 3, 60)))
        parts = [Partition("orders", number, told, len(told.entries)) for number in range(2)]
        stage.produce(settings, parts)
        for part in parts:
            stage.commit(settings, part, stage.frontier_of(settings, part))
        stage.fill_views(settings, parts)
        yield settings


def test_ids_in_two_partitions_are_listed_as_a_warning_and_not_as_a_difference(twice: Settings) -> None:
    told = Told(stage.closing("orders", stage.log_of("orders", 3, 60)))
    usable = [
        item for item in told.entries if item.event is not None and told.fates[item.offset] not in ("dead", "control")
    ]
    verdict = judged(twice)
    assert verdict.proved
    assert verdict.split_ids["orders"].count == len({item.event["event_id"] for item in usable if item.event})
    places = next(iter(verdict.split_ids["orders"].examples.values()))
    assert {place.split("@")[0] for place in places} == {"orders/0", "orders/1"}
    assert "stand in two partitions of orders" in shown(verdict)
    assert verdict.as_json()["ids_in_two_partitions"]["orders"]["count"] > 0


def test_no_ids_in_two_partitions_are_not_spoken_of(world: Settings) -> None:
    verdict = judged(world)
    assert [found.count for found in verdict.split_ids.values()] == [0, 0]
    assert "two partitions" not in shown(verdict)


def test_the_command_takes_views_and_a_time(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, path = copied
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{path}")
    damage(path, "orders", "amount_e4")
    damage(path, "product_sales", "units", f"window_start < {SINCE} AND final = 1")
    moment = datetime.fromtimestamp(SINCE / 1_000, UTC).isoformat()
    run = CliRunner().invoke
    only = run(build_app(), ["verify", "--json", "--view", "product_sales", "--view", "devices"])
    assert only.exit_code == ExitCode.FAILED
    (difference,) = json.loads(only.stdout)["differences"]
    assert difference["offsets"].startswith("orders/")
    later = run(build_app(), ["verify", "--json", "--view", "product_sales", "--since", moment])
    assert later.exit_code == ExitCode.OK
    assert json.loads(later.stdout)["rows_left_out"]["product_sales"] > 0


@pytest.mark.real
def test_an_offset_is_found_by_its_append_time(bootstrap_servers: str) -> None:
    from confluent_kafka import Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    name = "referee-offset-at"
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(name, 1, 1, config={"message.timestamp.type": "CreateTime"})])[name].result()
    producer = Producer({"bootstrap.servers": bootstrap_servers, "enable.idempotence": True})
    now = int(datetime.now(UTC).timestamp()) * 1_000
    for n in range(10):
        producer.produce(name, b"x", partition=0, timestamp=now + n * 1_000)
    assert producer.flush(30) == 0
    reader = LogReader(stage.settings_of(bootstrap_servers, "sqlite:///none"), 10.0)
    assert reader.offset_at(name, 0, now + 3_001) == 4
    assert reader.offset_at(name, 0, 0) == 0
    assert reader.offset_at(name, 0, now + 60_000) is None
    reader.close()
