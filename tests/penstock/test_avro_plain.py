"""Plain records are read with NumPy, all others with Polars: who reads a record must not be seen in what comes out."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.avro import Decoded, Decoder, Encoder
from penstock.avro_plain import MAX_ITEMS
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME

CONTRACTS, IDS = load_contracts(), LockedIds()
UUID = "0b5b9a7e-6f0c-4d0f-9a51-3a5d9f6c1e{:02x}"
TOPICS = {
    "OrderPlaced": "orders", "OrderCancelled": "orders", "Heartbeat": "orders", "ReadingTaken": "telemetry",
    "OrderMetrics": "order-metrics", "TelemetryMetrics": "telemetry-metrics",
}  # fmt: skip


def order(number: int = 0, **fields: Any) -> dict[str, Any]:
    item = {"sku": "SKU-1", "quantity": 2, "unit_price_e4": 12_500}
    return {
        "event_id": UUID.format(number % 256), "occurred_at": 1_700_000_000_000 + number, "source": "test",
        "order_id": f"order-{number}", "customer_id": None, "country": "Norway", "currency": "NOK",
        "amount_e4": 25_000, "items": [item], **fields,
    }  # fmt: skip


def encoded(record: str, *rows: dict[str, Any]) -> list[bytes]:
    return Encoder(CONTRACTS[record], IDS.id_of(CONTRACTS[record], BY_NAME[TOPICS[record]])).encode_all(rows)


def read(values: list[bytes], topic: str = "orders", *, plain: bool = True) -> Decoded:
    decoder = Decoder(BY_NAME[topic], CONTRACTS, IDS, 256_000)
    if not plain:
        decoder.decode(values)
        decoder._readings = {header: replace(reading, plain=None) for header, reading in decoder._readings.items()}
    return decoder.decode(values)


def same(found: Decoded, wanted: Decoded) -> bool:
    """A kind of record of which none could be read may have an empty frame or none."""
    pairs = [(found.records, wanted.records), (found.items, wanted.items)]
    tables = all(
        name in other if not frame.is_empty() else True
        for one, two in pairs
        for frames, other in ((one, two), (two, one))
        for name, frame in frames.items()
    )
    equal = all(
        frame.equals(two[name]) and frame.schema == two[name].schema
        for one, two in pairs
        for name, frame in one.items()
        if name in two and not frame.is_empty()
    )
    return tables and equal and found.rejections == wanted.rejections


TEXT = st.one_of(st.text(max_size=30), st.text("abc", max_size=300), st.just("a\0b"), st.just("x" * 1_001))
ITEM = st.fixed_dictionaries({
    "sku": TEXT,
    "quantity": st.integers(-5, 2**31 - 1),
    "unit_price_e4": st.integers(-(10**11), 10**11),
})  # fmt: skip
ORDER = st.fixed_dictionaries({
    "event_id": st.one_of(st.uuids().map(str), TEXT),
    "occurred_at": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 2 * 10**12),
    "source": TEXT,
    "order_id": TEXT,
    "customer_id": st.none() | TEXT,
    "country": TEXT,
    "currency": TEXT,
    "amount_e4": st.integers(-(10**17), 10**17) | st.integers(0, 10**6),
    "items": st.lists(ITEM, max_size=4) | st.lists(ITEM, min_size=MAX_ITEMS, max_size=MAX_ITEMS + 2),
})  # fmt: skip
MANY = settings(max_examples=40, suppress_health_check=list(HealthCheck))


@MANY
@given(st.lists(ORDER, min_size=1, max_size=8))
def test_any_order_comes_out_the_same(rows: list[dict[str, Any]]) -> None:
    values = encoded("OrderPlaced", *rows)
    assert same(read(values), read(values, plain=False))


@MANY
@given(st.data())
def test_damaged_records_come_out_the_same_and_their_neighbours_too(data: st.DataObject) -> None:
    values = encoded("OrderPlaced", *map(order, range(6))) + encoded(
        "Heartbeat", {"event_id": UUID.format(7), "occurred_at": 1, "source": "s", "sent_at": None}
    )
    for _ in range(data.draw(st.integers(1, 4))):
        number = data.draw(st.integers(0, len(values) - 1))
        raw = bytearray(values[number])
        at = data.draw(st.integers(0, max(len(raw) - 1, 0)))
        change = data.draw(st.sampled_from(("flip", "cut", "grow")))
        if change == "flip" and raw:
            raw[at] = data.draw(st.integers(0, 255))
        elif change == "cut":
            del raw[at:]
        else:
            raw[at:at] = data.draw(st.binary(max_size=12))
        values[number] = bytes(raw)
    assert same(read(values), read(values, plain=False))


@MANY
@given(
    st.lists(
        st.fixed_dictionaries({
            "event_id": st.uuids().map(str),
            "occurred_at": st.integers(0, 2 * 10**12),
            "source": TEXT,
            "device_id": TEXT,
            "sensor": st.sampled_from(("UNKNOWN", "TEMPERATURE")),
            "value": st.floats(),
            "unit": TEXT,
        }),
        min_size=1,
        max_size=8,
    )
)  # fmt: skip
def test_any_reading_comes_out_the_same(rows: list[dict[str, Any]]) -> None:
    values = encoded("ReadingTaken", *rows)
    assert same(read(values, "telemetry"), read(values, "telemetry", plain=False))


@pytest.mark.parametrize("record", TOPICS)
def test_contracts_of_the_hot_topics_have_a_plain_reader(record: str) -> None:
    topic = BY_NAME[TOPICS[record]]
    decoder = Decoder(topic, CONTRACTS, IDS, 256_000)
    reading = decoder._reading(b"\0" + IDS.id_of(CONTRACTS[record], topic).to_bytes(4, "big"))
    assert not isinstance(reading, tuple)
    assert reading.plain is not None


def test_texts_of_all_lengths_stand_side_by_side() -> None:
    rows = [order(number, country="c" * number, items=[]) for number in range(256)]
    found = read(encoded("OrderPlaced", *rows)).records["OrderPlaced"]
    assert found["country"].to_list() == [row["country"] for row in rows]


def test_columns_outlive_the_batch_that_they_were_read_from() -> None:
    def names(batch: int) -> list[str]:
        return [f"a-long-name-of-an-order-{batch}-{number}" for number in range(50)]

    frames = [
        read(encoded("OrderPlaced", *(order(n, order_id=name) for n, name in enumerate(names(batch)))))
        for batch in range(20)
    ]
    kept = [frame.records["OrderPlaced"]["order_id"].to_list() for frame in frames]
    assert kept == [names(batch) for batch in range(20)]
