"""`penstock books` on an embedded broker: balanced when all is right, and each contradiction said."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from penstock.cli import build_app
from penstock.errors import ExitCode, ProtectiveStop
from penstock.settings import Settings
from referee.ledger import Ledger
from referee.ledger_reader import take
from tests.referee import stage

PATIENCE_S = 20.0
FIRST = (
    "source_topic = 'orders' AND source_partition = 0 AND source_offset = (SELECT min(source_offset) FROM {}_v1 "
    "WHERE source_topic = 'orders' AND source_partition = 0)"
)


def with_database(settings: Settings, path: Path) -> Settings:
    """Return the same with a copy of its database."""
    source_path = settings.database_url.get_secret_value().removeprefix("sqlite:///")
    with sqlite3.connect(source_path) as source, sqlite3.connect(path) as target:
        source.backup(target)
    return settings.model_copy(update={"database_url": type(settings.database_url)(f"sqlite:///{path}")})


def after(settings: Settings, path: Path, sql: str) -> Ledger:
    """Take the ledger after a change of a copy of the database."""
    changed = with_database(settings, path)
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql).rowcount == 1
    connection.close()
    return take(changed, PATIENCE_S)


def test_a_right_outcome_balances(world: Settings) -> None:
    ledger = take(world, PATIENCE_S)
    assert ledger.problems() == []
    assert ledger.balanced
    parts = stage.partitions()
    pages = {(page.topic, page.partition): page for page in ledger.pages}
    assert len(pages) == 8
    for part in parts:
        page = pages[part.topic, part.number]
        assert (page.frontier.position, page.log_start, page.log_end) == (part.position, 0, part.end)
        assert page.restart == part.told.restart_offset(part.position)
        assert page.kept is not None
        assert (page.kept.late, page.kept.dead) == (page.frontier.fates.late, page.frontier.fates.dead)
    assert ledger.in_flight == 2 * stage.TOLD_LATER


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        (f"DELETE FROM late_events_v1 WHERE {FIRST.format('late_events')}", "late"),
        (f"DELETE FROM dead_letters_v1 WHERE {FIRST.format('dead_letters')}", "dead"),
        (
            "UPDATE pane_counts_v1 SET applied = applied + 1 WHERE source_topic = 'orders' AND source_partition = 0 "
            "AND window_start = (SELECT min(window_start) FROM pane_counts_v1)",
            "orders/0: the final panes",
        ),
        (
            "DELETE FROM pane_counts_v1 WHERE source_topic = 'telemetry' AND source_partition = 0 "
            "AND window_start = (SELECT min(window_start) FROM pane_counts_v1)",
            "telemetry/0: the final panes",
        ),
    ],
)
def test_a_view_that_keeps_other_numbers_is_named(world: Settings, tmp_path: Path, sql: str, word: str) -> None:
    (sentence,) = after(world, tmp_path / "views.db", sql).problems()
    assert word in sentence


def test_views_that_are_behind_are_said_and_the_rest_is_checked(world: Settings, tmp_path: Path) -> None:
    absent = type(world.database_url)(f"sqlite:///{tmp_path / 'none.db'}")
    ledger = take(world.model_copy(update={"database_url": absent}), 1.0)
    assert "no view database" in ledger.views_behind
    assert ledger.problems() == []
    assert not ledger.balanced


def run(settings: Settings, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[int, str]:
    """Run the command; return its exit code and what it printed."""
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers)
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("PENSTOCK_EMBEDDED", "true")
    result = CliRunner().invoke(build_app(), ["books", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def truth_of(ledger: Ledger, file: Path, **changed: int) -> Path:
    """Write the truth of producers that sent just what is in the log."""
    topics: dict[str, Any] = {}
    for topic in ledger.topics:
        count = ledger.records(topic) + changed.get(topic, 0)
        topics[topic] = {"sent": count, "acknowledged": count, "fates": {"applied": count}}
    file.write_text(json.dumps({"topics": topics}))
    return file


def test_the_command_says_balanced_and_ends_with_0(
    world: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = truth_of(take(world, PATIENCE_S), tmp_path / "truth.json")
    code, said = run(world, monkeypatch, "--truth", str(truth))
    assert code == ExitCode.OK
    assert "BALANCED; 30 in flight" in said
    assert "NOT BALANCED" not in said
    code, said = run(world, monkeypatch, "--json", "--truth", str(truth))
    document = json.loads(said)
    assert document["balanced"] is True
    assert document["topics"]["orders"]["truth"]["acknowledged"] == document["topics"]["orders"]["records"] == 301
    assert sum(page["position"] - page["start"] for page in document["partitions"]) == 602 - 30


def test_records_that_the_producers_had_acknowledged_and_the_log_has_not_end_with_1(
    world: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = truth_of(take(world, PATIENCE_S), tmp_path / "truth.json", orders=2)
    code, said = run(world, monkeypatch, "--truth", str(truth))
    assert code == ExitCode.FAILED
    assert "2 are lost" in said
    assert "NOT BALANCED" in said


def test_views_that_are_behind_end_with_3(world: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = type(world.database_url)(f"sqlite:///{tmp_path / 'none.db'}")
    settings = world.model_copy(update={"database_url": absent})
    code, said = run(settings, monkeypatch, "--timeout", "1")
    assert code == ExitCode.GAVE_UP
    assert "orders/0" in said
    assert "BALANCED AS FAR AS KNOWN" in said


def test_a_frontier_of_another_topic_stops_it(tmp_path: Path) -> None:
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
        part = stage.partitions()[0]
        stage.produce(settings, [part])
        stage.commit(settings, part, replace(stage.frontier_of(settings, part), topic_id="another"))
        with pytest.raises(ProtectiveStop, match="recreated"):
            take(settings, PATIENCE_S)


def test_books_that_do_not_add_up_are_named(tmp_path: Path) -> None:
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
        parts = stage.partitions()
        stage.produce(settings, parts)
        for part in parts:
            frontier = stage.frontier_of(settings, part)
            wrong = replace(frontier.fates, control=frontier.fates.control - 1)
            stage.commit(settings, part, replace(frontier, fates=wrong if part.number else frontier.fates))
        stage.fill_views(settings, parts)
        problems = take(settings, PATIENCE_S).problems()
        assert len(problems) == 2
        assert all("1 of the offsets passed have no fate" in sentence for sentence in problems)
