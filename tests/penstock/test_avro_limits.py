"""What no table could hold is refused, with a word and a sentence, and takes no neighbour along."""

import math
import struct
from typing import Any

import pytest

from penstock.avro import Decoder, Rejection
from penstock.avro_checks import END_OF_TIME_MS, MAX_TEXT_BYTES
from tests.penstock import avro_reference as reference


def rejected(name: str, **changes: Any) -> Rejection | None:
    """Decode one changed record between two good ones and return its rejection, or None if it passed."""
    encoder = reference.encoder_of(name)
    good = encoder.encode(reference.sample(name))
    decoded = reference.decoder_of(name).decode([good, encoder.encode(reference.sample(name, **changes)), good])
    rows = reference.rows_of(decoded)
    assert {0, 2} <= rows.keys()
    assert (1 in rows) != bool(decoded.rejections)
    return decoded.rejections[0] if decoded.rejections else None


def item(**changes: Any) -> list[dict[str, Any]]:
    good = {"sku": "A1", "quantity": 1, "unit_price_e4": 100}
    return [good, {**good, **changes}]


@pytest.mark.parametrize(
    ("name", "changes", "reason", "field"),
    [
        ("OrderPlaced", {"order_id": "a\0b"}, "bad-text", "order_id"),
        ("OrderPlaced", {"customer_id": "\0"}, "bad-text", "customer_id"),
        ("OrderPlaced", {"order_id": "x" * (MAX_TEXT_BYTES + 1)}, "bad-text", "order_id"),
        ("OrderPlaced", {"order_id": "é" * (MAX_TEXT_BYTES // 2 + 1)}, "bad-text", "order_id"),
        ("OrderPlaced", {"items": item(sku="A\0")}, "bad-text", "sku"),
        ("OrderPlaced", {"items": item(sku="x" * (MAX_TEXT_BYTES + 1))}, "bad-text", "sku"),
        ("OrderPlaced", {"event_id": "x" * 35}, "bad-text", "event_id"),
        ("OrderPlaced", {"event_id": "x" * 37}, "bad-text", "event_id"),
        ("OrderPlaced", {"event_id": ""}, "bad-text", "event_id"),
        ("OrderPlaced", {"occurred_at": -1}, "out-of-range", "occurred_at"),
        ("OrderPlaced", {"occurred_at": END_OF_TIME_MS}, "out-of-range", "occurred_at"),
        ("OrderPlaced", {"occurred_at": -(2**63)}, "out-of-range", "occurred_at"),
        ("OrderPlaced", {"amount_e4": 10**15}, "out-of-range", "amount"),
        ("OrderPlaced", {"amount_e4": -(10**15)}, "out-of-range", "amount"),
        ("OrderPlaced", {"amount_e4": 10**37}, "out-of-range", "amount"),
        ("OrderPlaced", {"amount_e4": 10**45}, "malformed", "amount"),
        ("OrderPlaced", {"items": item(unit_price_e4=10**11)}, "out-of-range", "unit_price"),
        ("OrderPlaced", {"items": item(quantity=0)}, "out-of-range", "quantity"),
        ("OrderPlaced", {"items": item(quantity=1_000_001)}, "out-of-range", "quantity"),
        ("ReadingTaken", {"value": math.nan}, "not-a-number", "value"),
        ("ReadingTaken", {"value": math.inf}, "not-a-number", "value"),
        ("ReadingTaken", {"value": -math.inf}, "not-a-number", "value"),
        ("ReadingTaken", {"value": 1.0000001e9}, "out-of-range", "value"),
        ("ReadingTaken", {"value": -1e300}, "out-of-range", "value"),
        ("BatteryLow", {"charge_percent": 101}, "out-of-range", "charge_percent"),
        ("BatteryLow", {"charge_percent": -1}, "out-of-range", "charge_percent"),
    ],
)
def test_a_value_outside_of_its_limits_is_rejected_by_name(
    name: str, changes: dict[str, Any], reason: str, field: str
) -> None:
    rejection = rejected(name, **changes)
    assert rejection is not None
    assert (rejection.position, rejection.reason) == (1, reason)
    assert field in rejection.detail


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("OrderPlaced", {"order_id": "x" * MAX_TEXT_BYTES}),
        ("OrderPlaced", {"order_id": ""}),
        ("OrderPlaced", {"occurred_at": 0}),
        ("OrderPlaced", {"occurred_at": END_OF_TIME_MS - 1}),
        ("OrderPlaced", {"amount_e4": 10**15 - 1}),
        ("OrderPlaced", {"amount_e4": 1 - 10**15}),
        ("OrderPlaced", {"customer_id": None}),
        ("OrderPlaced", {"items": item(quantity=1_000_000)}),
        ("ReadingTaken", {"value": 1e9}),
        ("ReadingTaken", {"value": -1e9}),
        ("ReadingTaken", {"value": -0.0}),
        ("ReadingTaken", {"value": 5e-324}),
        ("BatteryLow", {"charge_percent": 100}),
    ],
)
def test_a_value_at_its_limit_passes(name: str, changes: dict[str, Any]) -> None:
    assert rejected(name, **changes) is None


def test_an_enum_index_that_no_symbol_has_is_rejected() -> None:
    good = reference.encoder_of("OrderPaid").encode(reference.sample("OrderPaid"))
    for index in (b"\x08", b"\x01", b"\xff\xff\xff\xff\x1f", b"\xff" * 9 + b"\x01"):
        decoded = reference.decoder_of("OrderPaid").decode([good, good[:-1] + index, good])
        assert [rejection.reason for rejection in decoded.rejections] == ["out-of-range"]
        assert reference.rows_of(decoded).keys() == {0, 2}


def test_an_int_of_more_than_32_bits_is_rejected_and_not_cut_down() -> None:
    """2**33 + 6, cut down to 32 bits, would be a charge of 6 %."""
    good = reference.encoder_of("BatteryLow").encode(reference.sample("BatteryLow", charge_percent=6))
    beyond = good[:-1] + bytes([0x8C, 0x80, 0x80, 0x80, 0x40])
    decoded = reference.decoder_of("BatteryLow").decode([good, beyond])
    (rejection,) = decoded.rejections
    assert (rejection.position, rejection.reason) == (1, "malformed")


def test_a_boolean_is_0_or_1_and_nothing_else() -> None:
    name = "PaneCounted"
    common = {"pane_start": 0, "source_topic_id": "x", "source_partition": 1, "next_offset": 2, "applied": 3}
    good = reference.encoder_of(name).encode({**common, "final": True})
    assert good[-2:] == b"\1\6"
    decoded = reference.decoder_of(name).decode([good, *(good[:-2] + bytes([byte, 6]) for byte in (0, 2, 3, 255))])
    assert decoded.records[name]["final"].to_list() == [True, False]
    assert [rejection.reason for rejection in decoded.rejections] == ["malformed"] * 3


def test_a_record_above_the_size_limit_is_not_looked_at() -> None:
    good = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced"))
    decoder = Decoder(reference.topic_of("OrderPlaced"), reference.CONTRACTS, reference.IDS, len(good))
    decoded = decoder.decode([good, good + b"\0", good])
    assert decoded.rejections == [
        Rejection(1, "too-large", f"{len(good) + 1} bytes are more than the limit of {len(good)}")
    ]
    assert reference.rows_of(decoded).keys() == {0, 2}


def test_a_record_with_several_faults_is_rejected_once() -> None:
    rejection = rejected("OrderPlaced", order_id="\0" * 2000, amount_e4=10**16, items=item(quantity=0, sku="\0"))
    assert rejection is not None


def test_two_bad_items_reject_their_record_once_and_all_of_its_items() -> None:
    encoder = reference.encoder_of("OrderPlaced")
    bad = encoder.encode(reference.sample("OrderPlaced", items=item(quantity=0) + item(quantity=-5)))
    decoded = reference.decoder_of("OrderPlaced").decode([bad, encoder.encode(reference.sample("OrderPlaced"))])
    assert [rejection.position for rejection in decoded.rejections] == [0]
    assert decoded.items["OrderPlaced.items"]["_index"].to_list() == [1, 1]


def test_readings_are_rounded_to_the_nearest_millionth() -> None:
    encoder = reference.encoder_of("ReadingTaken")
    readings = [0.1234565, -0.1234564, 1e-7, 123456.7891234, 0.1 + 0.2]
    decoded = reference.decoder_of("ReadingTaken").decode(
        [encoder.encode(reference.sample("ReadingTaken", value=value)) for value in readings]
    )
    assert decoded.records["ReadingTaken"]["value_e6"].to_list() == [round(value * 1e6) for value in readings]


def test_a_signalling_nan_is_no_number_either() -> None:
    good = reference.encoder_of("ReadingTaken").encode(reference.sample("ReadingTaken", value=21.25, unit=""))
    quiet = good[:-9] + struct.pack("<Q", 0x7FF0000000000001) + good[-1:]
    (rejection,) = reference.decoder_of("ReadingTaken").decode([quiet]).rejections
    assert rejection.reason == "not-a-number"
