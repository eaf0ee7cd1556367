"""The shell, on an embedded broker."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from penstock.avro import INDEX, Decoder
from penstock.contracts import load_contracts
from penstock.errors import ExitCode, GaveUpWaiting, PenstockError, UsageError
from penstock.health import Health
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from producers import replayed
from producers.csv_rows import open_all
from producers.delivery import Delivery, Limits, Stopped
from producers.faults import Faults
from producers.modelled import Plan, start, topics_of
from producers.retail import gather
from producers.run import wall_clock
from producers.session import Session, encoders_of
from producers.stream import Batch
from producers.truth import Tally

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "online-retail").glob("*.csv"))
REPO = Path(__file__).parents[2]


def decoder(topic: str) -> Decoder:
    return Decoder(BY_NAME[topic], load_contracts(), LockedIds(), 256_000)


def judged(embedded: Any, judge: Any, topic: str, prefix: str) -> tuple[Counter[str], Counter[str]]:
    """The fates of all records of a topic, and the sums of the applied ones, by a reader of the log."""
    fates: Counter[str] = Counter()
    sums: Counter[str] = Counter()
    for partition, messages in embedded.read(prefix + topic).items():
        decoded = decoder(topic).decode([message.value() for message in messages])
        rows = {row[INDEX]: (name, row) for name, frame in decoded.records.items() for row in frame.to_dicts()}
        for index, message in enumerate(messages):
            fate = judge.fate(partition, rows.get(index), message.timestamp()[1])
            fates[fate] += 1
            if fate == "applied":
                name, row = rows[index]
                sums["orders"] += name == "OrderPlaced"
                sums["revenue_e4"] += row["amount_e4"] if name == "OrderPlaced" else 0
                sums["readings"] += name == "ReadingTaken"
                sums["value_e6"] += row.get("value_e6", 0)
    return fates, +sums


def truth_of(path: Path) -> dict[str, Any]:
    truth: dict[str, Any] = json.loads(path.read_text())
    return truth


@pytest.mark.parametrize(
    "how", [{"count": 3_000}, {"rate": 1_500.0, "duration_ms": 2_000}, {"count": 700, "duration_ms": 3_600_000}]
)
def test_what_is_acknowledged_is_in_the_log_with_the_fates_that_the_truth_says(
    embedded: Any, new_judge: Callable[[], Any], tmp_path: Path, how: dict[str, Any]
) -> None:
    prefix, path = f"{tmp_path.name}-", tmp_path / "truth.json"
    plan = Plan(("orders", "telemetry"), 11, faults=Faults(5_000, 0.02, 0.02, 0.02), **how)
    session = Session("produce all", topics_of(plan.topics), close=True, truth_file=path, seed=plan.seed)
    assert start(plan, session, embedded.settings(prefix)) == ExitCode.OK
    truth = truth_of(path)
    assert truth["complete"] is True
    assert truth["seed"] == 11
    for topic, told in truth["topics"].items():
        fates, sums = judged(embedded, new_judge(), topic, prefix)
        assert fates == +Counter(told["fates"])
        assert told["sent"] == told["acknowledged"] == fates.total()
        for name, value in sums.items():
            assert told["sums"]["applied"][name] == value
    events = sum(t["fates"]["applied"] + t["fates"]["late"] for t in truth["topics"].values())
    assert events == (plan.count or 3_000)


def test_a_real_broker_gets_the_same_fates_with_its_own_append_times(
    real_broker: Any, new_judge: Callable[[], Any], tmp_path: Path
) -> None:
    from confluent_kafka.admin import NewTopic

    from penstock.kafka import admin

    prefix, path, topic = f"{uuid4()}-", tmp_path / "truth.json", BY_NAME["orders"]
    settings = real_broker.settings(prefix)
    made = NewTopic(topic.full_name(settings), topic.partitions, 1, config=topic.config())
    client = admin(settings)
    for future in client.create_topics([made]).values():
        future.result(30)
    plan = Plan(("orders",), 5, count=5_000, faults=Faults(5_000, 0.02, 0.02, 0.02))
    session = Session("produce orders", topics_of(plan.topics), close=True, truth_file=path)
    assert start(plan, session, settings) == ExitCode.OK
    told = truth_of(path)["topics"]["orders"]
    fates, sums = judged(real_broker, new_judge(), "orders", prefix)
    assert fates == +Counter(told["fates"])
    assert sums["revenue_e4"] == told["sums"]["applied"]["revenue_e4"]


def test_a_topic_that_does_not_exist_is_told_with_the_command_that_makes_it(real_broker: Any) -> None:
    settings = real_broker.settings(f"{uuid4()}-").model_copy(update={"embedded": False})
    delivery = Delivery(settings, Health(), threading.Event(), CollectorRegistry())
    with pytest.raises(PenstockError, match="penstock topics create"):
        delivery.open(topics_of(("orders",)))


def test_a_replay_of_history_is_in_the_log_in_event_time_order_and_a_second_one_changes_nothing(
    embedded: Any, new_judge: Callable[[], Any], tmp_path: Path
) -> None:
    prefix, path = f"{tmp_path.name}-", tmp_path / "truth.json"
    session = Session("replay", topics_of(("orders",)), close=True, truth_file=path)
    for _ in range(2):
        assert replayed.start(gather(open_all(SAMPLES)), session, embedded.settings(prefix), None) == ExitCode.OK
    told = truth_of(path)["topics"]["orders"]
    fates, sums = judged(embedded, new_judge(), "orders", prefix)
    assert fates["applied"] == told["fates"]["applied"]
    assert fates["late"] + fates["duplicate"] == fates["applied"]
    assert sums["revenue_e4"] == told["sums"]["applied"]["revenue_e4"]


def test_a_live_replay_happens_now_and_none_of_it_is_late(
    embedded: Any, new_judge: Callable[[], Any], tmp_path: Path
) -> None:
    prefix = f"{tmp_path.name}-"
    session = Session("replay", topics_of(("orders",)), close=True)
    began = wall_clock()
    gathered = gather(open_all(SAMPLES))
    assert replayed.start(gathered, session, embedded.settings(prefix), 60_000.0) == ExitCode.OK
    fates, _ = judged(embedded, new_judge(), "orders", prefix)
    assert fates["applied"] == len(gathered.events)
    assert set(fates) == {"applied", "control"}
    assert wall_clock() - began >= (gathered.events[-1].occurred_at - gathered.events[0].occurred_at) / 60_000


def test_a_replay_with_a_wrong_row_sends_the_others_and_ends_in_1(embedded: Any, tmp_path: Path) -> None:
    file, path = tmp_path / "bad.csv", tmp_path / "truth.json"
    lines = SAMPLES[0].read_text().splitlines()
    file.write_text("\n".join([*lines[:5], "536365,only,three", *lines[5:]]))
    run = penstock(embedded, f"{tmp_path.name}-", "replay", "online-retail", str(file), "--truth", str(path))
    output, errors = run.communicate(timeout=60)
    assert run.returncode == ExitCode.FAILED, errors
    assert "bad.csv:6: 3 columns in place of 8" in output
    assert truth_of(path)["malformed_rows"] == 1
    assert truth_of(path)["topics"]["orders"]["fates"]["applied"] == len(gather(open_all(SAMPLES[:1])).events)


def records(tally: Tally, count: int, value: bytes = b"x" * 100) -> Batch:
    tally.sent += count
    return Batch([value] * count, [b"key"] * count, [0] * count, [tally.delivered] * count)


def test_memory_is_bounded_while_the_broker_is_away_and_a_stop_is_heard(new_embedded: Callable[[], Any]) -> None:
    broker = new_embedded()
    health, stopping = Health(), threading.Event()
    limits = Limits(queue_events=1_000, away_after_s=0.3)
    delivery = Delivery(broker.settings(), health, stopping, CollectorRegistry(), limits)
    truth = delivery.open(topics_of(("orders",)))["orders"]
    health.started()
    tally = truth.tally("applied", "OrderPlaced")
    delivery.send("orders", records(tally, 10))
    assert delivery.finish(30)
    broker.stop()
    seen: list[dict[str, str]] = []

    def stop_when_red() -> None:
        deadline = time.monotonic() + 30
        while not health.ready() and time.monotonic() < deadline:
            time.sleep(0.05)
        seen.append(health.ready())
        stopping.set()

    watcher = threading.Thread(target=stop_when_red)
    watcher.start()
    tracemalloc.start()
    with pytest.raises(Stopped):
        delivery.send("orders", records(tally, 250_000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    watcher.join()
    assert "kafka" in seen[0]
    assert health.live() == {}
    assert delivery.waiting <= 1_000
    assert peak < 32_000_000
    assert tally.acknowledged == 10


def test_a_one_shot_run_gives_up_when_nothing_is_acknowledged_in_time(new_embedded: Callable[[], Any]) -> None:
    broker = new_embedded()
    delivery = Delivery(
        broker.settings(), Health(), threading.Event(), CollectorRegistry(), Limits(timeout_s=0.5, queue_events=100)
    )
    tally = delivery.open(topics_of(("orders",)))["orders"].tally("applied", "OrderPlaced")
    broker.stop()
    delivery.send("orders", records(tally, 10))
    with pytest.raises(GaveUpWaiting, match="acknowledges none of 10"):
        delivery.finish(None)


def test_a_record_that_the_broker_never_takes_ends_the_run_with_its_reason(embedded: Any) -> None:
    delivery = Delivery(embedded.settings("big-"), Health(), threading.Event(), CollectorRegistry())
    tally = delivery.open(topics_of(("orders",)))["orders"].tally("applied", "OrderPlaced")
    with pytest.raises(PenstockError, match="big-orders refuses"):
        delivery.send("big-orders", records(tally, 1, b"x" * 20_000_000))


def test_the_metrics_count_what_is_acknowledged(embedded: Any) -> None:
    registry = CollectorRegistry()
    delivery = Delivery(embedded.settings("metrics-"), Health(), threading.Event(), registry)
    tally = delivery.open(topics_of(("orders",)))["orders"].tally("applied", "OrderPlaced")
    assert registry.get_sample_value("penstock_produced_events_total", {"topic": "orders"}) == 0
    delivery.send("metrics-orders", records(tally, 250))
    assert delivery.finish(30)
    assert registry.get_sample_value("penstock_produced_events_total", {"topic": "orders"}) == 250
    assert registry.get_sample_value("penstock_produce_queue_events") == 0


def test_a_truth_that_cannot_be_written_is_told_before_anything_is_sent(embedded: Any, tmp_path: Path) -> None:
    plan = Plan(("orders",), 1, count=1)
    session = Session("produce", topics_of(plan.topics), close=True, truth_file=tmp_path / "no" / "truth.json")
    with pytest.raises(UsageError, match="--truth"):
        start(plan, session, embedded.settings())


def test_every_record_of_a_source_topic_has_an_encoder() -> None:
    assert set(encoders_of(BY_NAME["telemetry"], LockedIds()).records) == {
        "ReadingTaken", "DeviceConnected", "BatteryLow", "Heartbeat",
    }  # fmt: skip


def penstock(embedded: Any, prefix: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", "from penstock.cli import main; main()", *arguments],
        cwd=REPO,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(REPO),
            "KAFKA_BOOTSTRAP_SERVERS": embedded.bootstrap_servers,
            "PENSTOCK_EMBEDDED": "true",
            "PENSTOCK_TOPIC_PREFIX": prefix,
            "PENSTOCK_HTTP_PORT": "0",
            **environment,
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_in_order_with_all_panes_closed_and_the_truth_written(
    embedded: Any, new_judge: Callable[[], Any], tmp_path: Path, number: signal.Signals
) -> None:
    prefix, path = f"{tmp_path.name}-", tmp_path / "truth.json"
    run = penstock(embedded, prefix, "produce", "orders", "--rate", "500", "--disorder", "2s", "--truth", str(path))
    assert run.stderr is not None
    assert "producing" in run.stderr.readline()
    run.send_signal(number)
    _, errors = run.communicate(timeout=30)
    assert run.returncode == ExitCode.OK, errors
    told = truth_of(path)["topics"]["orders"]
    judge = new_judge()
    fates, _ = judged(embedded, judge, "orders", prefix)
    assert fates == +Counter(told["fates"])
    assert all(judge.final_until(partition) > time.time() * 1_000 - 60_000 for partition in range(4))


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["produce", "orders", "--disorder", "9s"], 2, "--disorder: '9s' is too much"),
        (["produce", "orders", "--late", "lots"], 2, "--late: 'lots' is no share"),
        (["produce", "orders", "--rate", "0"], 2, "--rate: 0 must be more than 0"),
        (["produce", "orders", "--count", "-1"], 2, "--count: -1 must be 0 or more"),
        (["produce", "all", "--late", "60%", "--poison", "60%"], 2, "together more than 100%"),
        (["replay", "online-retail", "nosuch.csv"], 2, "nosuch.csv: can't be read"),
        (["replay", "online-retail", "--speed", "2", "x.csv"], 2, "--speed: only with --live"),
        (["replay", "readings", "--sensor", "x", "--unit", "y", "x.csv"], 2, "--sensor: 'x' is none of"),
    ],
)
def test_a_wrong_argument_is_one_clear_line(embedded: Any, arguments: list[str], code: int, why: str) -> None:
    run = penstock(embedded, "usage-", *arguments)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == code
    assert why in errors
    assert len(errors.splitlines()) == 1


def test_a_port_that_is_taken_is_one_clear_line(embedded: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        run = penstock(embedded, "port-", "produce", "orders", PENSTOCK_HTTP_PORT=port)
        _, errors = run.communicate(timeout=60)
    assert run.returncode == ExitCode.USAGE
    assert f"can't listen on 127.0.0.1:{port}" in errors
