"""The merge rules against a plain dict: any order, any batching, any number of copies."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.stores import Store
from consumers.tables import prepare
from tests.consumers import builders
from tests.consumers.builders import NOON, Event, Instance, read, views

VERSIONS = itertools.count(1)
"""Each example builds a pipeline version of its own: empty tables, in the one database of the test."""

ORDERS = ("o1", "É'\\")
# Few times and ids, so that many events are equally new but for their id.
small = st.integers(0, 2)
times = st.integers(0, 1).map(lambda n: NOON + n)


def quick(examples: int) -> Any:
    fixtures = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, suppress_health_check=fixtures)


@st.composite
def order_events(draw: st.DrawFn) -> Event:
    order, at, number = draw(st.sampled_from(ORDERS)), draw(times), draw(small)
    kind = draw(st.sampled_from(["placed", "paid", "shipped", "cancelled", "heartbeat"]))
    if kind == "heartbeat":
        return builders.heartbeat(at)
    # What an event says follows from its identity: a second copy carries the same.
    fact = f"{order}{at - NOON}{number}"
    if kind == "placed":
        customer = None if number == 0 else fact
        return builders.placed(order, at, number, customer_id=customer, amount_e4=hash((at, number)) % 1000)
    if kind == "cancelled":
        return builders.cancelled(order, at, number, amount_e4=hash((number, at)) % 1000)
    if kind == "shipped":
        return builders.shipped(order, at, number, fact)
    return builders.paid(order, at, number, ("CARD", "INVOICE", "WALLET")[number])


def expected_orders(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    newest: dict[tuple[str, str], Any] = {}
    for record, fields in events:
        if record != "Heartbeat":
            key = (fields["order_id"], record)
            kept = newest.get(key)
            if kept is None or (fields["occurred_at"], fields["event_id"]) > (kept["occurred_at"], kept["event_id"]):
                newest[key] = fields
    return [_order(order, newest) for order in sorted({order for order, _ in newest}, key=str.encode)]


def _order(order: str, newest: dict[tuple[str, str], Any]) -> tuple[Any, ...]:
    kinds = ("OrderPlaced", "OrderPaid", "OrderShipped", "OrderCancelled")
    placed, paid, shipped, cancelled = (newest.get((order, kind)) for kind in kinds)
    status = "cancelled" if cancelled else "shipped" if shipped else "paid" if paid else "placed"
    home = placed or cancelled or {}
    at = [event["occurred_at"] if event else None for event in (placed, paid, shipped, cancelled)]
    facts = ((placed or {}).get("customer_id"), home.get("country"), status, home.get("currency"))
    rest = ((shipped or {}).get("carrier"), (paid or {}).get("method"), (cancelled or {}).get("amount_e4"))
    return (order, *facts, home.get("amount_e4"), *at, *rest)


COLUMNS = (
    "order_id, customer_id, country, status, currency, amount_e4, "
    "placed_at_ms, paid_at_ms, shipped_at_ms, cancelled_at_ms, carrier, method, cancelled_e4"
)


def fresh(store: Store, view: str) -> Instance:
    version = next(VERSIONS)
    prepare(store, [views()[view]], version, swap=True)
    return Instance(store, version)


def feed(instance: Instance, view: str, topic: str, events: Sequence[Event], cuts: Sequence[int]) -> None:
    borders = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(borders):
        instance.settle(view, topic, events[begin:end])


@quick(40)
@given(st.lists(order_events(), min_size=1, max_size=40), st.lists(st.integers(0, 50), max_size=9), st.randoms())
def test_orders_are_the_same_in_any_order_and_any_batching_with_any_copies(
    connect: Callable[[], Store], events: list[Event], cuts: list[int], random: Any
) -> None:
    store = connect()
    copies = [*events, *random.sample(events, len(events) // 2)]
    random.shuffle(copies)
    instance = fresh(store, "orders")
    feed(instance, "orders", "orders", copies, cuts)
    assert read(store, "orders", COLUMNS) == expected_orders(events)


@st.composite
def device_events(draw: st.DrawFn) -> Event:
    device, at, number = draw(st.sampled_from(["d1", "d2"])), draw(times), draw(small)
    kind = draw(st.integers(0, 2))
    if kind == 0:
        sensor = draw(st.sampled_from(["CPU", "SPEED"]))
        return builders.reading(device, sensor, at, (at - NOON) * 10 + number + 0.5, number)
    if kind == 1:
        return builders.connected(device, at, number, f"{at - NOON}.{number}")
    return builders.battery_low(device, at, 10 * (at - NOON) + number, number)


def expected_devices(events: Sequence[Event]) -> set[tuple[Any, ...]]:
    newest: dict[tuple[Any, ...], Any] = {}
    for record, fields in events:
        key = (record, fields["device_id"], fields.get("sensor"))
        kept = newest.get(key)
        if kept is None or (fields["occurred_at"], fields["event_id"]) > (kept["occurred_at"], kept["event_id"]):
            newest[key] = fields
    rows = set()
    for device in {key[1] for key in newest}:
        firmware = newest.get(("DeviceConnected", device, None), {}).get("firmware")
        battery = newest.get(("BatteryLow", device, None), {}).get("charge_percent")
        sensors = [key[2] for key in newest if key[:2] == ("ReadingTaken", device)] or [None]
        for sensor in sensors:
            value = newest.get(("ReadingTaken", device, sensor), {}).get("value")
            rows.add((device, sensor, value and round(value * 1_000_000), firmware, battery))
    return rows


@quick(30)
@given(st.lists(device_events(), min_size=1, max_size=30), st.lists(st.integers(0, 50), max_size=9), st.randoms())
def test_devices_are_the_same_in_any_order_and_any_batching(
    connect: Callable[[], Store], events: list[Event], cuts: list[int], random: Any
) -> None:
    store = connect()
    shuffled = [*events, *events]
    random.shuffle(shuffled)
    instance = fresh(store, "devices")
    feed(instance, "devices", "telemetry", shuffled, cuts)
    rows = read(store, "devices", "device_id, sensor, value_e6, firmware, battery_percent", "1, 2")
    assert len(rows) == len(set(rows))
    assert set(rows) == expected_devices(events)


result_rows = st.builds(
    lambda pane, partition, next_offset, final, country: builders.order_metrics(
        NOON + 60_000 * pane, partition, next_offset, final, country, 10 * next_offset + final
    ),
    st.integers(0, 1), st.integers(0, 1), st.integers(1, 4), st.booleans(), st.sampled_from(["GB", "DE"]),
)  # fmt: skip


@quick(40)
@given(st.lists(result_rows, min_size=1, max_size=25), st.lists(st.integers(0, 50), max_size=4), st.randoms())
def test_the_result_with_the_larger_final_and_next_offset_stays_whoever_writes_last(
    connect: Callable[[], Store], rows: list[Event], cuts: list[int], random: Any
) -> None:
    store = connect()
    instance = fresh(store, "order_metrics")
    shuffled = [*rows, *rows]
    random.shuffle(shuffled)
    for topic, final in (("order-metrics", False), ("order-metrics-final", True)):
        feed(instance, "order_metrics", topic, [row for row in shuffled if row[1]["final"] == final], cuts)
    best: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for _, row in rows:
        key = (row["pane_start"], row["country"], row["source_partition"])
        best[key] = max(best.get(key, (False, 0, 0)), (row["final"], row["next_offset"], row["orders"]))
    sums: dict[tuple[Any, ...], list[Any]] = {}
    for (pane, country, _), (final, _, orders) in best.items():
        entry = sums.setdefault((pane, country), [0, True])
        entry[0], entry[1] = entry[0] + orders, entry[1] and final
    found = read(store, "order_metrics", "window_start_ms, country, orders, final", "1, 2")
    assert [(*row[:3], bool(row[3])) for row in found] == [(*key, *sums[key]) for key in sorted(sums)]


@pytest.mark.parametrize("view", ["late_events", "dead_letters"])
def test_a_letter_that_is_sent_again_is_kept_once(connect: Callable[[], Store], view: str) -> None:
    store = connect()
    instance = fresh(store, view)
    hostile = "a\n\\.\n\\N\t'\"\r" + "é"
    if view == "late_events":
        base = {"event_id": builders.event_id(1), "occurred_at": NOON, "watermark": NOON}
        letters = [builders.letter("LateEvent", offset, **base, value=b"\0\\x\xff") for offset in (5, 6, 5)]
    else:
        letters = [
            builders.letter("DeadLetter", n, reason="malformed", detail=hostile, value=b"\0\\x\xff") for n in (5, 6, 5)
        ]
    topic = view.replace("_", "-")
    instance.settle(view, topic, letters)
    instance.settle(view, topic, letters)
    columns = "source_offset, key, value" + (", detail" if view == "dead_letters" else "")
    rest = (hostile,) if view == "dead_letters" else ()
    assert read(store, view, columns) == [(n, b"k", b"\0\\x\xff", *rest) for n in (5, 6)]


