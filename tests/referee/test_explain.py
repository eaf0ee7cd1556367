"""`penstock explain` on an embedded broker: each number's events by the model, and each damage shown."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli import build_app
from penstock.errors import ExitCode, UsageError
from penstock.metrics import SLOTS
from penstock.schema_ids import LockedIds
from penstock.settings import Settings
from referee.explain import explain
from referee.explain_question import question
from referee.explanation import Explanation
from simulation.model import PANE_MS
from tests.referee import stage
from tests.referee.stage import Partition

PATIENCE_S = 20.0
HOUR_MS = 3_600_000
MEASURES = {
    "order_metrics": ("orders", "revenue_e4", "largest_order_e4", "units", "cancellations", "cancelled_e4"),
    "product_sales": ("units", "revenue_e4"),
    "telemetry_metrics": ("readings", "sum_e6", "min_e6", "max_e6", "last_e6"),
    "pane_counts": ("applied",),
}
GROUPS = {
    "order_metrics": ("country",), "product_sales": ("sku",), "telemetry_metrics": ("sensor", "device_id"),
    "pane_counts": ("source_topic", "source_partition"),
}  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> list[Partition]:
    """The partitions of the world."""
    return stage.partitions()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, parts: list[Partition]) -> Iterator[Settings]:
    """A pipeline's outcome in which everything is right. Don't change its database."""
    path = tmp_path_factory.mktemp("explain") / "views.db"
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{path}")
        stage.produce(settings, parts)
        for part in parts:
            stage.commit(settings, part, stage.frontier_of(settings, part))
        stage.fill_views(settings, parts)
        yield settings


@pytest.fixture
def copied(world: Settings, tmp_path: Path) -> tuple[Settings, sqlite3.Connection]:
    """The same with a database of the test's own."""
    path = tmp_path / "views.db"
    target = sqlite3.connect(path, isolation_level=None)
    with sqlite3.connect(path_of(world)) as source:
        source.backup(target)
    return world.model_copy(update={"database_url": type(world.database_url)(f"sqlite:///{path}")}), target


def path_of(settings: Settings) -> str:
    return settings.database_url.get_secret_value().removeprefix("sqlite:///")


def rows(settings: Settings, sql: str) -> list[dict[str, Any]]:
    """Return the rows of a query on the views."""
    connection = sqlite3.connect(path_of(settings))
    connection.row_factory = sqlite3.Row
    found = [dict(row) for row in connection.execute(sql)]
    connection.close()
    return found


def asked(settings: Settings, view: str, window: int | None = None, **key: Any) -> Explanation:
    """Explain a row."""
    pairs = [f"{name}={value}" for name, value in key.items()]
    return explain(settings, LockedIds(), question(view, pairs, None if window is None else str(window)), PATIENCE_S)


def total(explanation: Explanation, column: str) -> tuple[Any, Any]:
    """Return what the log makes a measure in total, and what the view says."""
    (line,) = [line for line in explanation.lines if line.part == "total" and line.column == column]
    return line.by_log, line.in_view


@pytest.mark.parametrize("view", ["order_metrics", "product_sales", "telemetry_metrics"])
@pytest.mark.parametrize(("ending", "span_ms"), [("", PANE_MS), ("_by_hour", HOUR_MS), ("_by_day", 24 * HOUR_MS)])
def test_every_row_of_a_metric_is_the_sum_of_its_events(world: Settings, view: str, ending: str, span_ms: int) -> None:
    for row in rows(world, f"SELECT * FROM {view}{ending} ORDER BY 1, 2 LIMIT 12"):
        group = {name: row[name] for name in GROUPS[view]}
        found = asked(world, f"{view}{ending}", row["window_start_ms"] + span_ms // 2, **group)
        assert found.equal, found.lines
        for measure in MEASURES[view]:
            assert total(found, measure) == (row[measure], row[measure])
        applied = found.events.filter(found.events["fate"] == "applied")
        assert len(applied.filter(applied["why"].is_null())) > 0


@pytest.mark.parametrize(
    ("view", "group", "measures"),
    [("reading_quantiles", ("sensor", "bucket_e6"), ("readings",)), ("distinct_customers", ("block",), SLOTS)],
)
def test_a_cell_of_a_sketch_is_what_its_events_make(
    world: Settings, view: str, group: tuple[str, ...], measures: tuple[str, ...]
) -> None:
    for row in rows(world, f"SELECT * FROM {view}_v1 WHERE final = 1 ORDER BY 1, 2 LIMIT 4"):
        key = {name: row[name] for name in (*group, "source_partition")}
        found = asked(world, view, row["window_start"], **key)
        assert found.equal, found.lines
        seen = {line.column: line.in_view for line in found.lines}
        assert {name: seen[name] for name in measures} == {name: row[name] for name in measures}


def test_a_panes_events_have_the_fates_that_the_model_gives_them(world: Settings, parts: list[Partition]) -> None:
    seen = set()
    for part in parts:
        where = f"source_topic = '{part.topic}' AND partition = {part.number} AND final"
        for row in rows(world, f"SELECT * FROM pane_counts WHERE {where}"):
            key = {"source_topic": part.topic, "source_partition": part.number}
            found = asked(world, "pane_counts", row["window_start_ms"], **key)
            assert found.equal
            events = {event["offset"]: event for event in found.events.iter_rows(named=True)}
            start, told = row["window_start_ms"], part.told
            belong = {
                entry.offset
                for entry in told.entries
                if entry.event is not None and entry.record != "Heartbeat"
                and start <= entry.event["occurred_at"] < start + PANE_MS
            }  # fmt: skip
            assert set(events) == belong
            for offset, event in events.items():
                assert event["fate"] == told.fates[offset]
                seen.add(event["fate"])
                if event["fate"] == "duplicate":
                    first = int(event["why"].rpartition("@")[2])
                    assert told.entries[first].event == told.entries[offset].event
                    assert told.fates[first] == "applied"
                elif event["fate"] == "late":
                    assert event["why"].startswith("by ")
                elif event["fate"] == "dead":
                    assert event["why"] == "ahead-of-time"
    assert seen == {"applied", "duplicate", "late", "dead"}


def test_one_partition_alone_may_be_asked_for_as_verify_names_it(world: Settings) -> None:
    (row,) = rows(world, "SELECT * FROM order_metrics_v1 WHERE final = 1 AND source_partition = 1 LIMIT 1")
    key = {name: row[name] for name in ("window_start", "country", "source_partition")}
    found = asked(world, "order_metrics", **key)
    assert found.equal
    assert {line.part for line in found.lines} == {"partition 1"}
    assert [line.in_view for line in found.lines if line.column == "revenue_e4"] == [row["revenue_e4"]]


@pytest.mark.parametrize("ending", ["", "_by_hour", "_by_day"])
def test_a_damaged_number_differs_and_its_events_are_there(
    copied: tuple[Settings, sqlite3.Connection], ending: str
) -> None:
    settings, database = copied
    (row,) = rows(settings, "SELECT * FROM product_sales_v1 WHERE final = 1 LIMIT 1")
    where = f"window_start = {row['window_start']} AND sku = '{row['sku']}'"
    where += f" AND source_partition = {row['source_partition']}"
    assert database.execute(f"UPDATE product_sales_v1 SET units = units + 5 WHERE {where}").rowcount == 1
    found = asked(settings, f"product_sales{ending}", row["window_start"], sku=row["sku"])
    assert not found.equal
    wrong = {(line.part, line.column) for line in found.lines if not line.equal}
    assert {column for _, column in wrong} == {"units"}
    assert (f"partition {row['source_partition']}", "units") in wrong
    by_log, in_view = total(found, "units")
    assert by_log + 5 == in_view
    assert len(found.events) > 0


def test_two_wrongs_that_look_right_in_an_hour_are_named_by_pane(copied: tuple[Settings, sqlite3.Connection]) -> None:
    settings, database = copied
    query = "SELECT country, source_partition FROM order_metrics_v1 WHERE final = 1 AND orders > 1 GROUP BY 1, 2"
    (group,) = rows(settings, f"{query} HAVING count(*) > 1 LIMIT 1")
    where = f"country = '{group['country']}' AND source_partition = {group['source_partition']}"
    panes = rows(settings, f"SELECT window_start FROM order_metrics_v1 WHERE {where} AND final = 1 AND orders > 1")
    for pane, change in zip(panes, ("+ 1", "- 1"), strict=False):
        condition = f"{where} AND window_start = {pane['window_start']}"
        database.execute(f"UPDATE order_metrics_v1 SET orders = orders {change} WHERE {condition}")
    found = asked(settings, "order_metrics_by_day", panes[0]["window_start"], country=group["country"])
    assert not found.equal
    wrong = [line for line in found.lines if not line.equal]
    assert [line.column for line in wrong] == ["orders", "orders"]
    assert all(", " in line.part for line in wrong)
    assert len(set(total(found, "orders"))) == 1


def test_a_row_that_is_gone_differs(copied: tuple[Settings, sqlite3.Connection]) -> None:
    settings, database = copied
    (row,) = rows(settings, "SELECT * FROM telemetry_metrics_v1 WHERE final = 1 LIMIT 1")
    key = {name: row[name] for name in ("sensor", "device_id")}
    condition = " AND ".join(f"{name} = '{value}'" for name, value in key.items())
    database.execute(f"DELETE FROM telemetry_metrics_v1 WHERE {condition} AND window_start = {row['window_start']}")
    found = asked(settings, "telemetry_metrics", row["window_start"], **key)
    assert not found.equal
    assert total(found, "readings")[1] == "absent"
    assert len(found.events) > 0


def test_a_late_event_stands_beside_the_window_it_missed(world: Settings, parts: list[Partition]) -> None:
    part = next(part for part in parts if part.topic == "orders")
    late = next(
        entry for entry in part.told.entries
        if part.told.fates[entry.offset] == "late" and entry.record == "OrderPlaced"
    )  # fmt: skip
    assert late.event is not None
    found = asked(world, "order_metrics", late.event["occurred_at"], country=late.event["country"])
    (event,) = (event for event in found.events.to_dicts() if event["offset"] == late.offset)
    assert event["fate"] == "late"
    assert event["orders"] == 1
    assert event["event_id"] == late.event["event_id"]
    assert found.equal


@pytest.mark.parametrize(("view", "key"), [("orders", "order_id"), ("devices", "device_id")])
def test_every_column_of_an_entity_has_the_event_that_gave_it(
    world: Settings, parts: list[Partition], view: str, key: str
) -> None:
    topic = "orders" if view == "orders" else "telemetry"
    told = {part.number: part.told for part in parts if part.topic == topic}
    for row in rows(world, f"SELECT DISTINCT {key} FROM {view} LIMIT 8"):
        found = asked(world, view, **row)
        assert found.equal, [line for line in found.lines if not line.equal]
        given = [line for line in found.lines if line.by_log is not None]
        assert given
        for line in given:
            place, _, offset = line.source.partition("@")
            event = told[int(place.rpartition("/")[2])].entries[int(offset)].event
            assert event is not None
            assert event[key] == row[key]
        for event in found.events.iter_rows(named=True):
            assert event["fate"] == told[event["partition"]].fates[event["offset"]]


def test_a_damaged_cell_of_an_entity_differs(copied: tuple[Settings, sqlite3.Connection]) -> None:
    settings, database = copied
    (row,) = rows(settings, "SELECT order_id, amount_e4 FROM orders_v1 WHERE placed_at IS NOT NULL LIMIT 1")
    database.execute("UPDATE orders_v1 SET amount_e4 = amount_e4 + 1 WHERE order_id = ?", (row["order_id"],))
    found = asked(settings, "orders", order_id=row["order_id"])
    (wrong,) = [line for line in found.lines if not line.equal]
    assert (wrong.column, wrong.by_log, wrong.in_view) == ("amount_e4", row["amount_e4"], row["amount_e4"] + 1)
    assert wrong.source.startswith("orders/")


@pytest.mark.parametrize(("view", "fate"), [("late_events", "late"), ("dead_letters", "dead")])
def test_every_letter_is_its_record(world: Settings, view: str, fate: str) -> None:
    for row in rows(world, f"SELECT source_topic, source_partition, source_offset FROM {view} LIMIT 12"):
        found = asked(world, view, **row)
        assert found.equal, [line for line in found.lines if not line.equal]
        (event,) = found.events.to_dicts()
        assert (event["fate"], event["offset"]) == (fate, row["source_offset"])
        if fate == "late":
            assert "was final" in found.notes[0]


@pytest.mark.parametrize(
    ("view", "column", "value"),
    [
        ("late_events", "watermark", 1), ("late_events", "event_id", "x"), ("late_events", "value", b"x"),
        ("dead_letters", "reason", "x"), ("dead_letters", "appended_at", 5), ("dead_letters", "key", b""),
    ],
)  # fmt: skip
def test_a_damaged_letter_differs(
    copied: tuple[Settings, sqlite3.Connection], view: str, column: str, value: object
) -> None:
    settings, database = copied
    (row,) = rows(settings, f"SELECT source_topic, source_partition, source_offset FROM {view}_v1 LIMIT 1")
    condition = " AND ".join(f"{name} = ?" for name in row)
    assert database.execute(f"UPDATE {view}_v1 SET {column} = ? WHERE {condition}", (value, *row.values())).rowcount
    found = asked(settings, view, **row)
    assert {line.column for line in found.lines if not line.equal} == {column}


def test_a_letter_that_is_gone_and_one_too_many_differ(copied: tuple[Settings, sqlite3.Connection]) -> None:
    settings, database = copied
    (row,) = rows(settings, "SELECT source_topic, source_partition, source_offset FROM late_events_v1 LIMIT 1")
    database.execute("DELETE FROM late_events_v1 WHERE source_offset = ?", (row["source_offset"],))
    gone = asked(settings, "late_events", **row)
    assert not gone.equal
    assert "keeps no letter of it" in gone.notes[0]
    (other,) = rows(settings, "SELECT * FROM late_events_v1 LIMIT 1")
    applied = row["source_offset"] - 1
    places = (applied, other["source_offset"])
    database.execute("UPDATE late_events_v1 SET source_offset = ? WHERE source_offset = ?", places)
    more = asked(settings, "late_events", **{**row, "source_offset": applied})
    assert "fate" in {line.column for line in more.lines if not line.equal}


@pytest.mark.parametrize(
    ("view", "window", "key", "words"),
    [
        ("order_metrics", 0, {"country": "Atlantis"}, ("neither the log nor the view has country=", "there is")),
        ("order_metrics", 86_400_000, {"country": "GB"}, ("neither", "windows are from")),
        ("orders", None, {"order_id": "none"}, ("where the key belongs", "there is")),
        ("late_events", None, {"topic": "orders", "partition": 7, "offset": 1}, ("has 4 partitions",)),
        ("late_events", None, {"topic": "orders", "partition": 0, "offset": 9_999}, ("the log of orders/0 holds",)),
        ("late_events", None, {"topic": "nothing", "partition": 0, "offset": 1}, ("there are orders, telemetry",)),
    ],
)
def test_what_is_not_there_is_said_with_what_is(
    world: Settings, view: str, window: int | None, key: dict[str, Any], words: tuple[str, ...]
) -> None:
    (first,) = rows(world, "SELECT min(window_start) AS at FROM order_metrics_v1")
    with pytest.raises(UsageError) as error:
        asked(world, view, None if window is None else first["at"] + window, **key)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert "\n" not in str(error.value)


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    result = CliRunner().invoke(build_app(), ["explain", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_the_command_prints_the_events_and_ends_with_0_or_1(
    copied: tuple[Settings, sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, database = copied
    (row,) = rows(settings, "SELECT * FROM order_metrics WHERE final LIMIT 1")
    arguments = ("order_metrics", "--key", f"country={row['country']}", "--window", row["window_start"])
    code, said = run(settings, monkeypatch, *arguments)
    assert code == ExitCode.OK
    assert said.rstrip().endswith("EQUAL")
    database.execute("UPDATE order_metrics_v1 SET revenue_e4 = revenue_e4 + 1")
    code, said = run(settings, monkeypatch, *arguments)
    assert code == ExitCode.FAILED
    assert "DIFFERS" in said
    assert f"log {row['revenue_e4']:,}" in said
    code, said = run(settings, monkeypatch, *arguments, "--json")
    document = json.loads(said)
    assert code == ExitCode.FAILED
    assert document["equal"] is False
    applied = [event for event in document["events"] if event["fate"] == "applied"]
    assert sum(event["gives"].get("revenue_e4", 0) for event in applied) == row["revenue_e4"]
    assert document["window"]["start_ms"] == row["window_start_ms"]
