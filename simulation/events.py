"""What a producer sends in a schedule: few ids, panes and times, so that copies, disorder and edges are common."""

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from simulation.codec import MAX_BYTES, UNKNOWN_ID, ages, encoder
from simulation.model import AHEAD_MS, PANE_MS

BEGAN_MS = 1_700_000_040_000 // PANE_MS * PANE_MS
_COUNTRIES = ("GB", "DE", "É|:")
_BEHIND = ((0, 0), (0, 0), (0, 0), (0, 12_000), (0, 12_000), (0, 12_000), (0, 80_000), (60_000, 200_000))
"""How far an event's time is behind its record's, from and to."""

_EDGE_MS = 10_000
"""Ends of panes and of the allowed disorder are multiples of this."""


@dataclass(frozen=True)
class Operation:
    """A record to append to a partition at ``at_ms``, behind ``gap`` offsets without one. ``event`` is what it says,
    under the reader's names; None for bytes that nobody can use."""

    partition: int
    at_ms: int
    record: str
    event: Mapping[str, Any] | None
    key: bytes | None
    value: bytes | None
    gap: int = 0


def order(record: str, number: int, occurred_at: int, amount: int) -> dict[str, Any]:
    """Return an event of ``orders`` whose content follows from few numbers."""
    event: dict[str, Any] = {**heartbeat(number, occurred_at), "order_id": f"o{number % 5}"}
    items = [
        {"sku": f"s{(number + i) % 3}", "quantity": 1 + (number + i) % 4, "unit_price_e4": 10 + amount % 7}
        for i in range(number % 3)
    ]
    money = {"country": _COUNTRIES[amount % 3], "currency": "GBP", "amount_e4": amount, "items": items}
    fields: dict[str, dict[str, Any]] = {
        "OrderPlaced": {**money, "customer_id": f"c{amount}"},
        "OrderCancelled": {**money, "reason": "RETURNED"},
        "OrderPaid": {"method": "CARD"},
        "OrderShipped": {"carrier": f"p{amount % 2}"},
    }
    return {**event, **fields[record]}


def reading(record: str, number: int, occurred_at: int, amount: int) -> dict[str, Any]:
    """Return an event of ``telemetry`` whose content follows from few numbers."""
    event: dict[str, Any] = {**heartbeat(number, occurred_at), "device_id": f"d{amount % 2}"}
    value = (amount % 9 - 4) / 2
    fields: dict[str, dict[str, Any]] = {
        "ReadingTaken": {
            "sensor": ("TEMPERATURE", "CPU")[amount % 2], "unit": "C",
            "value": value, "value_e6": round(value * 1_000_000),
        },
        "DeviceConnected": {"firmware": f"{amount}"},
        "BatteryLow": {"charge_percent": amount},
    }  # fmt: skip
    return {**event, **fields[record]}


def heartbeat(number: int, occurred_at: int) -> dict[str, Any]:
    """Return a heartbeat: what all events have."""
    return {"event_id": str(uuid.UUID(int=number)), "occurred_at": occurred_at, "source": "sim"}


def probe(number: int, occurred_at: int, sent_at: int) -> dict[str, Any]:
    """Return a heartbeat that says when it was sent."""
    return {**heartbeat(number, occurred_at), "sent_at": sent_at}


MAKERS: Mapping[str, Callable[[str, int, int, int], dict[str, Any]]] = {"orders": order, "telemetry": reading}
RECORDS = {
    "orders": ("OrderPlaced", "OrderCancelled", "OrderPaid", "OrderShipped"),
    "telemetry": ("ReadingTaken", "DeviceConnected", "BatteryLow"),
}


@dataclass(frozen=True)
class Mix:
    """What a schedule's events are like: which records, and how likely odd ones are."""

    topic: str
    records: tuple[str, ...]
    versions: bool
    step_ms: int
    copy: float
    poison: float
    heartbeat: float
    ahead: float
    gap: float


def operations(rng: random.Random, mix: Mix, partitions: int, count: int) -> list[Operation]:
    """Return ``count`` records in the order in which they are appended."""
    made: list[Operation] = []
    at_ms = BEGAN_MS
    for _ in range(count):
        at_ms += rng.choice((0, 1, mix.step_ms // 3, mix.step_ms, mix.step_ms, 2 * mix.step_ms))
        partition = rng.randrange(partitions)
        gap = rng.choice((1, 2, 5)) if rng.random() < mix.gap else 0
        made.append(_operation(rng, mix, partition, at_ms, gap, made))
    return made


def _operation(rng: random.Random, mix: Mix, partition: int, at_ms: int, gap: int, made: list[Operation]) -> Operation:
    before = [operation for operation in made if operation.partition == partition]
    draw = rng.random()
    if before and draw < mix.copy:
        first = rng.choice(before)
        return Operation(partition, at_ms, first.record, first.event, first.key, first.value, gap)
    number, amount = len(made) + 1, rng.randrange(13)  # the number is the event's id
    key = b"k%d" % number
    if draw < mix.copy + mix.heartbeat:
        event = probe(number, at_ms - rng.choice((0, 0, 3_000)), at_ms + (number % 4 - 2) * 100)
        return Operation(partition, at_ms, "Heartbeat", event, None, encode("Heartbeat", mix.topic, event), gap)
    occurred_at = at_ms - rng.randint(*rng.choice(_BEHIND))
    if rng.random() < 0.3:
        occurred_at = round(occurred_at / _EDGE_MS) * _EDGE_MS - rng.randrange(2)
    draw = rng.random()
    if draw < mix.ahead:
        occurred_at = at_ms + AHEAD_MS + (draw < mix.ahead * 0.8)
    record = rng.choice(mix.records)
    event = MAKERS[mix.topic](record, number, occurred_at, amount)
    age = rng.choice(ages(record)) if mix.versions else "now"
    value = encode(record, mix.topic, event, age)
    if age == "older" and "customer_id" in event:
        event["customer_id"] = None
    if rng.random() < mix.poison:
        return Operation(partition, at_ms, "?", None, rng.choice((key, None)), poisoned(rng, value), gap)
    return Operation(partition, at_ms, record, event, key, value, gap)


def encode(record: str, topic: str, event: Mapping[str, Any], age: str = "now") -> bytes:
    """Return an event's bytes."""
    fields = {**event, "note": "of next year"} if age == "newer" else event
    return encoder(record, topic, age).encode(fields)


def poisoned(rng: random.Random, value: bytes) -> bytes | None:
    """Return bytes that no reader may accept."""
    kinds: tuple[bytes | None, ...] = (
        None,
        b"",
        b"junk",
        value[:-1],
        value + b"\0",
        b"\0" + UNKNOWN_ID.to_bytes(4, "big") + value[5:],
        value[:5] + b"\x02\xff" + value[6:],
        value + bytes(MAX_BYTES),
    )
    return rng.choice(kinds)
