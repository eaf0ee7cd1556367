"""Logs of one partition to test with: real bytes by the real encoder, drawn by Hypothesis or written by hand."""

import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

from penstock.avro import Decoder, Encoder
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from simulation.model import AHEAD_MS, PANE_MS, Entry

FIRST_PANE = 1_700_000_040_000 // PANE_MS * PANE_MS
APPENDED_MS = FIRST_PANE + 20 * PANE_MS
MAX_BYTES = 2_000
COUNTRIES = ("GB", "DE", "É|:")
INSIDE_A_PANE = (0, 1, 9_999, 10_000, 10_001, 30_000, 59_999)
"""Times in a pane: the edges of panes and of the allowed disorder, and something between."""


@cache
def encoder(record: str, topic: str) -> Encoder:
    """Return the encoder of a record under the lock file's id."""
    contract = load_contracts()[record]
    return Encoder(contract, LockedIds().id_of(contract, BY_NAME[topic]))


@cache
def decoder(topic: str, max_bytes: int = MAX_BYTES) -> Decoder:
    """Return a decoder of a topic under the lock file's ids."""
    return Decoder(BY_NAME[topic], load_contracts(), LockedIds(), max_bytes)


def event_id(number: int) -> str:
    """Return a readable event id."""
    return str(uuid.UUID(int=number))


def order(record: str, number: int, occurred_at: int, amount: int) -> dict[str, Any]:
    """Return an event of ``orders`` whose content follows from few numbers."""
    event: dict[str, Any] = {
        "event_id": event_id(number), "occurred_at": occurred_at, "source": "test", "order_id": f"o{number}",
    }  # fmt: skip
    items = [
        {"sku": f"s{(number + i) % 3}", "quantity": 1 + (number + i) % 4, "unit_price_e4": 10 + amount % 7}
        for i in range(number % 3)
    ]
    money = {"country": COUNTRIES[amount % 3], "currency": "GBP", "amount_e4": amount, "items": items}
    return (
        event
        | {
            "OrderPlaced": money | {"customer_id": None if amount % 4 == 1 else f"c{amount}"},
            "OrderCancelled": money | {"reason": "RETURNED"},
            "OrderPaid": {"method": "CARD"},
            "OrderShipped": {"carrier": "post"},
        }[record]
    )


def reading(record: str, number: int, occurred_at: int, amount: int) -> dict[str, Any]:
    """Return an event of ``telemetry`` whose content follows from few numbers."""
    event: dict[str, Any] = {
        "event_id": event_id(number), "occurred_at": occurred_at, "source": "test", "device_id": f"d{amount % 2}",
    }  # fmt: skip
    value = (amount % 9 - 4) / 2
    return event | {
        "ReadingTaken": {
            "sensor": ("TEMPERATURE", "CPU")[amount % 2], "unit": "C",
            "value": value, "value_e6": round(value * 1_000_000),
        },
        "DeviceConnected": {"firmware": "1"},
        "BatteryLow": {"charge_percent": 5},
    }[record]  # fmt: skip


def heartbeat(number: int, occurred_at: int) -> dict[str, Any]:
    """Return a heartbeat."""
    return {"event_id": event_id(number), "occurred_at": occurred_at, "source": "test"}


def entry(topic: str, record: str, event: Mapping[str, Any], offset: int, appended_ms: int = APPENDED_MS) -> Entry:
    """Return an event as a record of the log."""
    return Entry(offset, appended_ms, record, event, encoder(record, topic).encode(event))


RECORDS: Mapping[str, tuple[Callable[[str, int, int, int], dict[str, Any]], tuple[str, ...]]] = {
    "orders": (order, ("OrderPlaced", "OrderPlaced", "OrderCancelled", "OrderPaid", "OrderShipped")),
    "telemetry": (reading, ("ReadingTaken", "ReadingTaken", "DeviceConnected", "BatteryLow")),
}


@st.composite
def logs(draw: st.DrawFn, topic: str, max_size: int = 60) -> list[Entry]:
    """Draw a log: few ids, panes and times, so that copies, disorder, lateness and the edges of panes are common."""
    offset = draw(st.sampled_from((0, 0, 17)))
    entries: list[Entry] = []
    for _ in range(draw(st.integers(1, max_size))):
        offset += draw(st.sampled_from((0, 0, 0, 0, 0, 0, 1, 3)))
        entries.append(draw(_entry(topic, offset, entries)))
        offset += 1
    return entries


@st.composite
def _entry(draw: st.DrawFn, topic: str, offset: int, before: Sequence[Entry]) -> Entry:
    kind = draw(
        st.sampled_from(("event",) * 10 + ("copy",) * 4 + ("heartbeat", "undecodable", "ahead", "nearly-ahead"))
    )
    if kind == "copy" and before:
        original = draw(st.sampled_from(before))
        return Entry(offset, original.appended_ms, original.record, original.event, original.value)
    if kind == "undecodable":
        value = draw(st.sampled_from((b"", b"\0\0\0\xff\xff1", b"junk", b"x" * (MAX_BYTES + 1))))
        return Entry(offset, APPENDED_MS, "?", None, value)
    # Panes drift forward through the log, so that they close; the reach back makes late ones.
    pane = len(before) // 12 + draw(st.integers(-1, 2))
    occurred_at = FIRST_PANE + max(pane, 0) * PANE_MS + draw(st.sampled_from(INSIDE_A_PANE))
    number, amount = draw(st.integers(1, 30)), draw(st.integers(0, 12))
    if kind == "heartbeat":
        return entry(topic, "Heartbeat", heartbeat(number, occurred_at), offset)
    make, records = RECORDS[topic]
    record = draw(st.sampled_from(records))
    event = make(record, number, occurred_at, amount)
    appended_ms = {"ahead": occurred_at - AHEAD_MS - 1, "nearly-ahead": occurred_at - AHEAD_MS}.get(kind, APPENDED_MS)
    return entry(topic, record, event, offset, appended_ms)
