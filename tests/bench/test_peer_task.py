"""What peers share, and the plain loop's windows."""

import json
from decimal import Decimal

import pytest

from bench.events import load_of
from bench.peers.judge import given_answers, judge, true_answers
from bench.peers.python_loop import Windows
from bench.peers.task import MINUTE_MS, Stopwatch, Task, answer, decoder
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME

RECORDS = {"orders": "OrderPlaced", "telemetry": "ReadingTaken"}


def task(job: str) -> Task:
    schema_id = LockedIds().id_of(load_contracts()[RECORDS[job]], BY_NAME[job])
    return Task(job, "broker:1", "topic", "out", "group", 504, 4, schema_id, "http://registry", "/nowhere")


def test_a_task_survives_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in task("orders").environment().items():
        monkeypatch.setenv(name, value)
    assert Task.from_environment() == task("orders")


@pytest.mark.parametrize("job", ["orders", "telemetry"])
def test_the_loop_is_right_about_a_load_that_it_reads_in_order(job: str) -> None:
    load = load_of(job, 500, LockedIds())
    decode, windows = decoder(task(job)), Windows(1)
    for _, value in load.events:
        event = decode(value)
        assert event is not None
        windows.add(0, *event)
    rows = [answer(start, key, *totals) for start, key, totals in windows.close(windows.newest[0] + MINUTE_MS)]
    assert judge(true_answers(job, load.truth), given_answers(job, rows), windows.newest[0]).all_right


def test_a_heartbeat_is_no_event() -> None:
    assert decoder(task("orders"))(load_of("orders", 1, LockedIds()).closing) is None


def test_amounts_are_scaled_exactly() -> None:
    load = load_of("orders", 1, LockedIds())
    event = decoder(task("orders"))(load.events[0][1])
    assert event is not None
    assert Decimal(event[2]) == load.truth["order_metrics"]["revenue_e4"].item()


def test_a_window_closes_once_and_what_comes_after_is_late() -> None:
    windows = Windows(2)
    windows.add(0, 10, "a", 1)
    assert windows.close(MINUTE_MS - 1) == []
    assert windows.close(MINUTE_MS) == [(0, "a", [1, 1, 1, 1])]
    windows.add(1, 20, "a", 1)
    assert (windows.late, windows.close(MINUTE_MS)) == (1, [])


def test_a_stopwatch_begins_once_and_tells_what_was_idle(capsys: pytest.CaptureFixture[str]) -> None:
    watch = Stopwatch()
    watch.begin()
    watch.begin()
    watch.touch()
    watch.end()
    begin, end = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (begin["event"], end["event"]) == ("begin", "end")
    assert 0 <= end["idle_s"] < 60
