"""Batches to test with: real bytes by the real encoder, decoded by the real decoder; no broker."""

import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import polars as pl

from consumers.batches import Batch, Span
from consumers.materializer import merge, stage
from consumers.offsets import Place, Stored, load
from consumers.stores import Store
from consumers.view_files import View, load_views
from penstock.avro import Decoded, Decoder, Encoder
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME, Topic

NOON = 1_700_000_000_000
TOPIC_ID = "id-of-the-topic"

Event = tuple[str, Mapping[str, Any]]


@cache
def views() -> dict[str, View]:
    return load_views()


@cache
def encoder(record: str, topic: str) -> Encoder:
    contract = load_contracts()[record]
    return Encoder(contract, LockedIds().id_of(contract, BY_NAME[topic]))


@cache
def decoder(topic: str) -> Decoder:
    return Decoder(BY_NAME[topic], load_contracts(), LockedIds(), 256_000)


def event_id(number: int) -> str:
    return str(uuid.UUID(int=number))


def encode(topic: str, event: Event | bytes | None) -> bytes | None:
    if event is None or isinstance(event, bytes):
        return event
    record, fields = event
    return encoder(record, topic).encode(fields)


def batch(
    topic: str, events: Sequence[Event | bytes | None], begin: int = 0, partition: int = 0, appended_at: int = NOON
) -> tuple[Batch, Decoded]:
    """Return ``events`` as a batch of one partition from offset ``begin``, and decoded."""
    values = [encode(topic, event) for event in events]
    places = pl.DataFrame(
        {
            "partition": [partition] * len(values),
            "offset": range(begin, begin + len(values)),
            "appended_at": [appended_at] * len(values),
        },
        schema={"partition": pl.Int64, "offset": pl.Int64, "appended_at": pl.Int64},
    )
    spans = (Span(partition, begin, begin + len(values)),)
    return Batch(BY_NAME[topic], spans, values, places), decoder(topic).decode(values)


class Instance:
    """A materialize process without Kafka: it believes what it last saw in the database."""

    def __init__(self, store: Store, version: int = 1) -> None:
        self.store, self.version = store, version
        self.stored: dict[Place, Stored] = {}
        self.skipped: dict[str, int] = {}

    def look(self) -> "Instance":
        with self.store.snapshot() as transaction:
            self.stored = load(transaction, self.version, views())
        return self

    def next(self, view: str, topic: str, partition: int = 0) -> int:
        place = Place(view, topic, partition)
        return self.stored[place].next if place in self.stored else 0

    def settle(self, view: str, topic: str, events: Sequence[Any], begin: int | None = None, **place: Any) -> None:
        """Merge ``events`` of one partition, from where the view is or from ``begin``. Raises Fenced."""
        start = self.next(view, topic, place.get("partition", 0)) if begin is None else begin
        found, decoded = batch(topic, events, start, **place)
        staged = stage(views()[view], found, decoded, TOPIC_ID, self.stored)
        if staged is None:
            return
        merge(self.store, views()[view], self.version, staged)
        self.skipped = dict(staged.skipped)
        self.stored |= {move.place: Stored(move.topic_id, move.new) for move in staged.moves}


def read(store: Store, relation: str, columns: str = "*", order: str = "1") -> list[tuple[Any, ...]]:
    with store.snapshot() as transaction:
        return list(transaction.fetch(f"SELECT {columns} FROM {relation} ORDER BY {order}"))


def topic_of(name: str) -> Topic:
    return BY_NAME[name]


def placed(order: str, at: int, number: int = 0, **fields: Any) -> Event:
    base = {"customer_id": "c1", "country": "GB", "currency": "GBP", "amount_e4": 10_0000, "items": []}
    return "OrderPlaced", {**_event(at, number), "order_id": order, **base, **fields}


def paid(order: str, at: int, number: int = 0, method: str = "CARD") -> Event:
    return "OrderPaid", {**_event(at, number), "order_id": order, "method": method}


def shipped(order: str, at: int, number: int = 0, carrier: str = "DHL") -> Event:
    return "OrderShipped", {**_event(at, number), "order_id": order, "carrier": carrier}


def cancelled(order: str, at: int, number: int = 0, **fields: Any) -> Event:
    base = {"reason": "RETURNED", "country": "FR", "currency": "EUR", "amount_e4": 5_0000, "items": []}
    return "OrderCancelled", {**_event(at, number), "order_id": order, **base, **fields}


def heartbeat(at: int) -> Event:
    return "Heartbeat", _event(at, 0)


def reading(device: str, sensor: str, at: int, value: float, number: int = 0) -> Event:
    fields = {"device_id": device, "sensor": sensor, "value": value, "unit": "u"}
    return "ReadingTaken", {**_event(at, number), **fields}


def connected(device: str, at: int, number: int = 0, firmware: str = "1.0") -> Event:
    return "DeviceConnected", {**_event(at, number), "device_id": device, "firmware": firmware}


def battery_low(device: str, at: int, percent: int, number: int = 0) -> Event:
    return "BatteryLow", {**_event(at, number), "device_id": device, "charge_percent": percent}


def result(record: str, pane: int, partition: int, next_offset: int, final: bool, **fields: Any) -> Event:
    front = {"pane_start": pane, "source_topic_id": TOPIC_ID, "source_partition": partition}
    return record, {**front, "next_offset": next_offset, "final": final, **fields}


def order_metrics(
    pane: int, partition: int, next_offset: int, final: bool, country: str = "GB", orders: int = 1
) -> Event:
    numbers = {"orders": orders, "revenue_e4": orders * 2_5000, "largest_order_e4": orders * 1_0000 or None}
    rest = {"units": 3 * orders, "cancellations": 1, "cancelled_e4": 7_0000}
    return result("OrderMetrics", pane, partition, next_offset, final, country=country, **numbers, **rest)


def telemetry_metrics(pane: int, partition: int, next_offset: int, values: Sequence[int], last_at: int) -> Event:
    numbers = {"readings": len(values), "sum_e6": sum(values), "min_e6": min(values), "max_e6": max(values)}
    last = {"last_e6": values[-1], "last_at": last_at, "last_event_id": event_id(partition)}
    group = {"sensor": "CPU", "device_id": "d1"}
    return result("TelemetryMetrics", pane, partition, next_offset, True, **group, **numbers, **last)


def letter(record: str, offset: int, **fields: Any) -> Event:
    front = {"source_topic": "orders", "source_topic_id": TOPIC_ID, "source_partition": 2, "source_offset": offset}
    return record, {**front, "appended_at": NOON, "key": b"k", "value": None, "headers": [], **fields}


def _event(at: int, number: int) -> dict[str, Any]:
    return {"event_id": event_id(number), "occurred_at": at, "source": "test"}
