"""View consumers that crash, poison among good events, a registry that comes late: totals are exact after each."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from confluent_kafka import Consumer, TopicPartition

from penstock.settings import load_settings
from penstock.topics import PARTITIONS, TOPICS
from testbed.pipeline import Parts, Pipeline, fates
from tests.end_to_end.conftest import DatabaseKind, Encoders
from tests.end_to_end.gate import Gate

pytestmark = [pytest.mark.real, pytest.mark.slow]

SIGKILLED = -9
MAX_RECORD_BYTES = 256_000
LARGE_BYTES = 5_000_000
"""More than any letter may have; compressed, the broker takes it all the same."""


class Log(NamedTuple):
    """A log that processors have settled, for views to be built from."""

    prefix: str
    acknowledged: int
    truth: dict[str, Any]


@pytest.fixture(scope="module")
def log(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Log:
    """A few thousand events with every fault."""
    with Pipeline(parts, tmp_path_factory.mktemp("log")).create_topics() as pipeline:
        pipeline.start_processors()
        faults = ("--disorder", "4s", "--duplicates", "2%", "--late", "2%", "--poison", "1%")
        truth = pipeline.send("produce", "all", "--count", "4000", "--duration", "10m", "--seed", "20101201", *faults)
        pipeline.settle()
        return Log(pipeline.prefix, pipeline.acknowledged, truth)


def totals_of(truth: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """What the views must say of a run, by its own truth."""
    orders, telemetry = truth["topics"]["orders"], truth["topics"]["telemetry"]
    sums = orders["sums"]["applied"]
    return {
        "order_metrics": tuple(
            sums[name] for name in ("orders", "revenue_e4", "units", "cancellations", "cancelled_e4")
        ),
        "telemetry_metrics": tuple(telemetry["sums"]["applied"][name] for name in ("readings", "value_e6")),
        "letters": tuple(orders["fates"][fate] + telemetry["fates"][fate] for fate in ("late", "dead")),
    }


def shown_totals(pipeline: Pipeline) -> dict[str, tuple[int, ...]]:
    return {
        "order_metrics": pipeline.row(
            "SELECT sum(orders), sum(revenue_e4), sum(units), sum(cancellations), sum(cancelled_e4) FROM order_metrics"
        ),
        "telemetry_metrics": pipeline.row("SELECT sum(readings), sum(sum_e6) FROM telemetry_metrics"),
        "letters": pipeline.row(
            "SELECT (SELECT count(*) FROM late_events), (SELECT count(*) FROM dead_letters)"
        ),
    }


def told_to_kafka(pipeline: Pipeline) -> int:
    """The sum of the offsets that the views' group has committed."""
    group = f"{pipeline.prefix}penstock-consumers.v1"
    consumer = Consumer({"bootstrap.servers": pipeline.parts.bootstrap_servers, "group.id": group})
    settings = load_settings(topic_prefix=pipeline.prefix)
    places = [TopicPartition(topic.full_name(settings), number) for topic in TOPICS for number in range(PARTITIONS)]
    try:
        return sum(max(place.offset, 0) for place in consumer.committed(places, timeout=10))
    finally:
        consumer.close()


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("point", ["before-database-commit", "after-database-commit"])
def test_totals_are_exact_after_the_view_consumer_was_killed(
    parts: Parts,
    log: Log,
    tmp_path: Path,
    new_database: Callable[[DatabaseKind, str], str],
    database: DatabaseKind,
    point: str,
) -> None:
    url = new_database(database, f"killed-{point}")
    small_batches = {"PENSTOCK_VIEW_BATCH_RECORDS": "500", "PENSTOCK_SESSION_TIMEOUT_MS": "2000"}
    with Pipeline(parts, tmp_path, url, prefix=log.prefix, **small_batches) as pipeline:
        told_before = told_to_kafka(pipeline)
        merged = [0]
        for passing in (3, 7):
            # Kafka is told once a minute, so never before it is killed.
            failpoint = {"PENSTOCK_FAILPOINTS": f"consumers.{point}=kill@{passing}", "PENSTOCK_COMMIT_INTERVAL_S": "60"}
            assert pipeline.start_views(**failpoint).until_ended() == SIGKILLED
            merged.append(int(pipeline.row("SELECT coalesce(sum(next), 0) FROM offsets")[0]))
        assert sorted(set(merged)) == merged  # each life got further than the one before
        assert told_to_kafka(pipeline) <= told_before

        pipeline.start_views().until_ready()
        verdict = pipeline.verify()
        assert sum(book["position"] - book["start"] for book in verdict["books"]) == log.acknowledged
        assert shown_totals(pipeline) == totals_of(log.truth)
        pipeline.stop()
        assert told_to_kafka(pipeline) > 0


def order(number: int, occurred_at: int, **changes: Any) -> dict[str, Any]:
    """An order of two units at 1.25 and one at 0.10."""
    items = [
        {"sku": "A", "quantity": 2, "unit_price_e4": 12_500},
        {"sku": "B", "quantity": 1, "unit_price_e4": 1_000},
    ]
    return {
        "event_id": str(uuid.UUID(int=number)), "occurred_at": occurred_at, "source": "test", "order_id": str(number),
        "customer_id": None, "country": "Malta", "currency": "EUR", "amount_e4": 26_000, "items": items, **changes,
    }  # fmt: skip


def reading(occurred_at: int, value: float) -> dict[str, Any]:
    return {
        "event_id": str(uuid.uuid4()), "occurred_at": occurred_at, "source": "test", "device_id": "d",
        "sensor": "SPEED", "value": value, "unit": "mph",
    }  # fmt: skip


def test_poison_in_the_middle_of_a_batch_is_dead_lettered_with_its_reason_and_its_neighbours_count(
    parts: Parts, encoders: Encoders, tmp_path: Path
) -> None:
    now = int(time.time() * 1_000)
    at = now - now % 60_000 - 600_000
    place = encoders.orders["OrderPlaced"].encode
    good = [place(order(number, at + number * 100)) for number in range(60)]
    whole, spare = good[0], order(1_000, at)
    unknown_id = (2_000_000_000).to_bytes(4, "big")
    poison: dict[bytes | None, str] = {
        whole[: len(whole) // 2]: "malformed",
        whole + b"\x00more": "malformed",
        b"": "not-avro",
        b"\x00\x00": "not-avro",
        b"{}": "not-avro",
        b"\x00" + unknown_id + whole[5:]: "unknown-schema",
        encoders.telemetry["ReadingTaken"].encode(reading(at, 1.0)): "unknown-schema",
        None: "no-value",
        bytes(LARGE_BYTES): "too-large",
        place({**spare, "occurred_at": now + 3_600_000}): "ahead-of-time",
        place({**spare, "country": "Ma\0lta"}): "bad-text",
        place({**spare, "items": [{"sku": "A", "quantity": 0, "unit_price_e4": 1}]}): "out-of-range",
    }
    records: list[tuple[str, bytes | None]] = []
    expected: list[tuple[int, str, bytes | None]] = []
    bad = iter(poison.items())
    for number, value in enumerate(good):
        if number % 4 == 3 and (next_bad := next(bad, None)):
            kept = next_bad[0] if next_bad[0] is None else next_bad[0][:MAX_RECORD_BYTES]
            expected.append((len(records), next_bad[1], kept))
            records.append(("poison", next_bad[0]))
        records.append((str(number), value))
    assert len(expected) == len(poison)

    with Pipeline(parts, tmp_path).create_topics() as pipeline:
        pipeline.send_raw("orders", records)  # before anybody reads, so that it is one batch
        pipeline.send_raw("telemetry", [("d", encoders.telemetry["ReadingTaken"].encode(reading(at, value)))
                                        for value in (1.5, float("nan"), 2.5)])  # fmt: skip
        pipeline.send("produce", "all", "--count", "0")
        pipeline.start_processors()
        pipeline.start_views()
        verdict = pipeline.prove()

        letters = pipeline.rows(
            "SELECT source_offset, reason, value FROM dead_letters WHERE source_topic = 'orders' ORDER BY source_offset"
        )
        assert letters == expected
        assert pipeline.rows("SELECT source_topic, reason FROM dead_letters WHERE source_topic = 'telemetry'") == [
            ("telemetry", "not-a-number")
        ]
        found = fates(verdict)
        assert (found["applied"], found["duplicate"], found["late"], found["dead"]) == (62, 0, 0, len(poison) + 1)
        sums = pipeline.row("SELECT sum(orders), sum(revenue_e4), sum(units) FROM order_metrics")
        assert sums == (60, 60 * 26_000, 180)
        assert pipeline.row("SELECT sum(readings), sum(sum_e6) FROM telemetry_metrics") == (2, 4_000_000)
        assert pipeline.row("SELECT count(*) FROM orders") == (60,)
        pipeline.stop()


@pytest.fixture
def registry_gate(parts: Parts) -> Iterator[Gate]:
    port = urlsplit(parts.registry_url).port
    assert port is not None
    with Gate(port) as gate:
        yield gate


def test_processors_and_producers_wait_for_a_registry_that_comes_late(
    parts: Parts, tmp_path: Path, registry_gate: Gate
) -> None:
    gated = parts.registry_url.replace(f":{urlsplit(parts.registry_url).port}/", f":{registry_gate.port}/")
    with Pipeline(parts._replace(registry_url=gated), tmp_path).create_topics() as pipeline:
        (processor,) = pipeline.start_processors()
        truth = tmp_path / "truth.json"
        producer = pipeline.start("orders", "produce", "orders", "--rate", "50", "--count", "100", "--truth", truth)
        for stage in (processor, producer):
            said = stage.until_waiting_for("registry")
            assert f"127.0.0.1:{registry_gate.port}" in said
            assert "Traceback" not in stage.log

        registry_gate.open()
        processor.until_ready()
        assert producer.until_ended() == 0
        del pipeline.stages["orders"]
        pipeline.count(truth)
        pipeline.start_views()
        pipeline.prove()
        assert pipeline.row("SELECT count(*) > 0 FROM orders") in ((1,), (True,))
        pipeline.stop()


def test_views_wait_for_a_registry_that_comes_late_and_skip_nothing(
    parts: Parts, log: Log, tmp_path: Path, registry_gate: Gate
) -> None:
    gated = parts.registry_url.replace(f":{urlsplit(parts.registry_url).port}/", f":{registry_gate.port}/")
    with Pipeline(parts._replace(registry_url=gated), tmp_path, prefix=log.prefix) as pipeline:
        views = pipeline.start_views()
        assert f"127.0.0.1:{registry_gate.port}" in views.until_waiting_for("registry")
        registry_gate.open()
        views.until_ready()
        pipeline.verify()
        assert shown_totals(pipeline) == totals_of(log.truth)
        pipeline.stop()
