"""What the referee's tests start from: logs of events, and the rows that views must have, told event by event.

The model of :mod:`simulation.model` knows nothing of the referee, nor of Polars.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import settings

from referee.fates import Settled, settle
from referee.log import Chunk, LogBuilder, PartitionLog
from simulation.model import DISORDER_MS, NEVER, Entry, Told
from tests.processors.logs import decoder

patient = settings(max_examples=40)
"""Hypothesis' settings: no deadline, the machine may be busy."""


def read(topic: str, entries: Sequence[Entry], newest_ms: int = NEVER) -> tuple[PartitionLog, Settled]:
    """Return a log as the referee reads it, in chunks of seven, and its fates."""
    builder = LogBuilder(256_000)
    for begin in range(0, len(entries), 7):
        part = entries[begin : begin + 7]
        values = [entry.value for entry in part]
        chunk = Chunk([e.offset for e in part], [e.appended_ms for e in part], [None] * len(part), values)
        builder.add(chunk, decoder(topic).decode(values))
    log = builder.build(start_of(entries), end_of(entries))
    return log, settle(log.start, log.spine, newest_ms)


def start_of(entries: Sequence[Entry]) -> int:
    """Return the offset of the first entry."""
    return entries[0].offset if entries else 0


def end_of(entries: Sequence[Entry]) -> int:
    """Return the offset behind the last entry."""
    return entries[-1].offset + 1 if entries else 0


_ORDER_OWNERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "OrderPlaced": ("placed", {n: n for n in ("customer_id", "country", "currency", "amount_e4")}),
    "OrderPaid": ("paid", {"method": "method"}),
    "OrderShipped": ("shipped", {"carrier": "carrier"}),
    "OrderCancelled": (
        "cancelled",
        {"cancel_reason": "reason", "cancelled_country": "country", "cancelled_currency": "currency",
         "cancelled_e4": "amount_e4"},
    ),
}  # fmt: skip
_DEVICE_OWNERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "DeviceConnected": ("connected", {"firmware": "firmware"}),
    "BatteryLow": ("battery_low", {"battery_percent": "charge_percent"}),
}
_READING_OWNERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "ReadingTaken": ("reading", {"value_e6": "value_e6", "unit": "unit"})
}
ENTITIES: Mapping[str, tuple[str, tuple[str, ...], Mapping[str, tuple[str, Mapping[str, str]]]]] = {
    "orders": ("orders", ("order_id",), _ORDER_OWNERS),
    "devices": ("telemetry", ("device_id",), _DEVICE_OWNERS),
    "device_readings": ("telemetry", ("device_id", "sensor"), _READING_OWNERS),
}
"""Tables of the entity views: topic, key, and by event type the prefix of its time and id and its columns."""


def entity_rows(table: str, logs: Sequence[Told], end: int = 1 << 62) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the rows of an entity's table by key, of the events below ``end`` that are not dead."""
    _, key, owners = ENTITIES[table]
    empty = {name: None for prefix, columns in owners.values() for name in (f"{prefix}_at", f"{prefix}_id", *columns)}
    rows: dict[tuple[str, ...], dict[str, Any]] = {}
    for told in logs:
        for entry in told.entries:
            if entry.record not in owners or entry.offset >= end or told.fates[entry.offset] == "dead":
                continue
            assert entry.event is not None
            prefix, columns = owners[entry.record]
            row = rows.setdefault(tuple(entry.event[name] for name in key), dict(empty))
            newest = (row[f"{prefix}_at"] or 0, row[f"{prefix}_id"] or "")
            if (entry.event["occurred_at"], entry.event["event_id"]) > newest:
                row |= {f"{prefix}_at": entry.event["occurred_at"], f"{prefix}_id": entry.event["event_id"]}
                row |= {name: entry.event[source] for name, source in columns.items()}
    return rows


def watermark_before(told: Told, offset: int) -> int:
    """Return the watermark that the entry at ``offset`` met."""
    return told.newest_at(offset) - DISORDER_MS
