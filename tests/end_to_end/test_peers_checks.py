"""The checks of the most trusted systems, written anew, on our views: built while processors and views are killed.

One run feeds them all. Every device sends 1, 2, 3 …, every order is placed, paid and shipped; each eleventh record is
sent twice.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pytest
from confluent_kafka import Producer

from testbed.pipeline import Parts, Pipeline, Stage
from testbed.processes import wait_until
from tests.end_to_end.conftest import Encoders

pytestmark = [pytest.mark.real, pytest.mark.slow]

DEVICES = 12
ROUNDS = 400
STEP_MS = 1_500
"""Event time between two readings of a device: 40 fall in a pane."""
KILLS = 6
SECONDS = 16.0


class Sent(NamedTuple):
    """One acknowledged event: its record's name and its fields."""

    record: str
    event: dict[str, Any]


class Built(NamedTuple):
    """What was sent (copies left out), and what was seen of it: each look at the devices' last values in turn."""

    pipeline: Pipeline
    sent: list[Sent]
    looks: list[dict[str, int]]
    kills: int


def workload(begin_ms: int) -> Iterator[tuple[str, str, Sent]]:
    """Yield topic, key and event, in event time's order."""
    for number in range(1, ROUNDS + 1):
        at = begin_ms + number * STEP_MS
        for device in range(DEVICES):
            fields = {"device_id": f"device-{device}", "sensor": "SPEED", "value": float(number), "unit": "mph"}
            yield "telemetry", f"device-{device}", Sent("ReadingTaken", event(at + device, fields))
        order_id = f"order-{number:05}"
        items = [{"sku": f"sku-{number % 7}", "quantity": 1 + number % 3, "unit_price_e4": 10_000}]
        amount = items[0]["quantity"] * 10_000
        placed = {
            "order_id": order_id, "customer_id": None, "country": ("Malta", "Japan")[number % 2], "currency": "EUR",
            "amount_e4": amount, "items": items,
        }  # fmt: skip
        for late, record, fields in (
            (0, "OrderPlaced", placed),
            (2, "OrderPaid", {"order_id": order_id, "method": "CARD"}),
            (4, "OrderShipped", {"order_id": order_id, "carrier": "post"}),
        ):
            yield "orders", order_id, Sent(record, event(at + late, fields))


def event(at: int, fields: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": str(uuid.uuid4()), "occurred_at": at, "source": "test", **fields}


def send_all(pipeline: Pipeline, encoders: Encoders, stream: Sequence[tuple[str, str, Sent]]) -> None:
    """Send a steady stream, each eleventh record twice, and wait until all of it is acknowledged."""
    refused: list[object] = []
    producer = Producer(
        {
            "bootstrap.servers": pipeline.parts.bootstrap_servers, "enable.idempotence": True,
            "partitioner": "murmur2_random", "log_level": 2,
        }
    )  # fmt: skip

    def delivered(error: object, _message: object) -> None:
        if error is not None:
            refused.append(error)

    by_record = {**encoders.orders, **encoders.telemetry}
    began = time.monotonic()
    copies = 0
    for number, (topic, key, (record, fields)) in enumerate(stream):
        value = by_record[record].encode(fields)
        for _ in range(2 if number % 11 == 0 else 1):
            producer.produce(pipeline.prefix + topic, value, key, on_delivery=delivered)
        copies += number % 11 == 0
        ahead_s = SECONDS * number / len(stream) - (time.monotonic() - began)
        if ahead_s > 0.05:
            producer.poll(ahead_s)
    assert producer.flush(60.0) == 0
    assert not refused
    pipeline.acknowledged += len(stream) + copies


def last_values(pipeline: Pipeline) -> dict[str, int]:
    return dict(pipeline.rows("SELECT device_id, value_e6 / 1000000 FROM devices WHERE sensor = 'SPEED'"))


def kill_one(pipeline: Pipeline, rng: random.Random) -> None:
    """Kill a stage, and start it again; then wait until both the fold and the views have moved on."""
    name = rng.choice(["processor-1", "processor-2", "views-1", "views-2"])
    stage = pipeline.stages[name]
    stage.child.kill()
    before = moved(pipeline)
    stage.child.start()
    wait_until(lambda: moved(pipeline) > before, 60.0, "something is merged after a kill", log=stage.child.log)


def moved(pipeline: Pipeline) -> int:
    return int(pipeline.row("SELECT coalesce(sum(next), 0) FROM offsets")[0])


@pytest.fixture(scope="module")
def built(parts: Parts, encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The views, after killing every kind of stage while they were built."""
    rng = random.Random(20_101_201)
    now = int(time.time() * 1_000)
    stream = list(workload(now - now % 60_000 - ROUNDS * STEP_MS - 120_000))
    quick = {"PENSTOCK_SESSION_TIMEOUT_MS": "2000"}
    with Pipeline(parts, tmp_path_factory.mktemp("peers"), **quick).create_topics() as pipeline:
        stages: list[Stage] = pipeline.start_processors(2)
        stages += [pipeline.start(f"views-{number}", "materialize") for number in (1, 2)]
        for stage in stages:
            stage.until_ready()
        sender = threading.Thread(target=send_all, args=(pipeline, encoders, stream))
        sender.start()
        looks = [last_values(pipeline)]
        kills = 0
        while sender.is_alive() or kills < KILLS:
            kill_one(pipeline, rng)
            kills += 1
            looks.append(last_values(pipeline))
        sender.join()
        pipeline.send("produce", "all", "--count", "0")  # heartbeats that close every pane
        pipeline.prove()
        looks.append(last_values(pipeline))
        yield Built(pipeline, [sent for _, _, sent in stream], looks, kills)


def test_what_went_in_came_out_once_and_in_order(built: Built) -> None:
    """Kafka's transactions test (``kafkatest/tests/core/transactions_test.py``): the output is the input as a set,
    has no message twice, keeps its order; and so for who reads while clients are bounced."""
    placed = [sent.event["order_id"] for sent in built.sent if sent.record == "OrderPlaced"]
    seen = built.pipeline.rows("SELECT order_id, status FROM orders ORDER BY placed_at_ms")

    assert [order_id for order_id, _ in seen] == placed
    assert {status for _, status in seen} == {"shipped"}
    assert built.pipeline.row("SELECT sum(orders) FROM order_metrics") == (len(placed),)
    for before, after in zip(built.looks, built.looks[1:], strict=False):
        assert all(after[device] >= value for device, value in before.items())
    assert built.looks[-1] == dict.fromkeys((f"device-{number}" for number in range(DEVICES)), ROUNDS)
    assert built.kills >= KILLS


def test_count_sum_min_and_max_are_those_of_the_input(built: Built) -> None:
    """Kafka Streams' exactly-once test (``EosTestDriver``): min, sum, max and count by key, computed again."""
    groups: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for record, fields in built.sent:
        if record == "ReadingTaken":
            window = fields["occurred_at"] // 60_000 * 60_000
            groups[fields["device_id"], window].append(int(fields["value"]) * 1_000_000)
    expected = {key: (len(v), sum(v), min(v), max(v), v[-1], 1) for key, v in groups.items()}

    rows = built.pipeline.rows(
        "SELECT device_id, window_start_ms, readings, sum_e6, min_e6, max_e6, last_e6, final FROM telemetry_metrics"
    )
    assert {(row[0], row[1]): tuple(row[2:]) for row in rows} == expected
    assert len(rows) == len(expected)

    revenue: Counter[str] = Counter()
    for record, fields in built.sent:
        if record == "OrderPlaced":
            revenue[fields["country"]] += fields["amount_e4"]
    query = "SELECT country, sum(revenue_e4) FROM order_metrics GROUP BY country"
    assert dict(built.pipeline.rows(query)) == dict(revenue)


def test_the_values_of_a_key_follow_each_other_without_a_gap(built: Built) -> None:
    """Flink's semantics check (``SemanticsCheckMapper``): of each key, next − previous is 1; told here of panes,
    whose values are ``min`` to ``max``, each once, and which follow each other."""
    query = (
        "SELECT device_id, min_e6 / 1000000, max_e6 / 1000000, readings FROM telemetry_metrics "
        "ORDER BY device_id, window_start_ms"
    )
    reached: Counter[str] = Counter()
    for device, lowest, highest, readings in built.pipeline.rows(query):
        assert lowest - reached[device] == 1
        assert highest - lowest + 1 == readings
        reached[device] = highest
    assert reached == Counter({f"device-{number}": ROUNDS for number in range(DEVICES)})
