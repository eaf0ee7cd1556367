"""What is encoded in columns has the same bytes as what fastavro writes, record by record."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.avro import Encoder
from penstock.avro_cells import Texts, Vocabulary, constant, decimals, encoded, integers, texts
from penstock.avro_encoding_columns import Column, ColumnEncoder, Columns, Items, Lists, Optional
from penstock.avro_types import column_name, is_scaled, item_record, kind_of
from penstock.contracts import Schema, load_contracts
from tests.penstock.avro_strategies import records

CONTRACTS = load_contracts()
EVENTS = (
    "OrderPlaced", "OrderPaid", "OrderShipped", "OrderCancelled", "ReadingTaken", "DeviceConnected", "BatteryLow",
    "Heartbeat",
)  # fmt: skip
DATA = st.data()


def columns_of(fields: list[Schema], rows: list[dict[str, Any]]) -> Columns:
    named = {field["name"] if is_scaled(field) else column_name(field): field for field in fields}
    return {name: column_of(field, [row[name] for row in rows]) for name, field in named.items()}


def column_of(field: Schema, values: list[Any]) -> Column:
    item, (kind, optional) = item_record(field["type"]), kind_of(field["type"])
    if item is not None:
        flat = [row for value in values for row in value]
        counts = np.array([len(value) for value in values], np.int64)
        return Lists(counts, np.arange(len(flat)), Items(columns_of(item["fields"], flat), len(flat)))
    if optional:
        plain = {**field, "type": next(branch for branch in field["type"] if branch != "null")}
        there = [value is not None for value in values]
        stand_in = "" if kind in ("string", "uuid") else 0
        filled = [stand_in if value is None else value for value in values]
        return Optional(column_of(plain, filled), np.array(there, bool))
    if kind in ("string", "uuid"):
        return texts([value.encode() for value in values])
    if kind == "enum":
        return Vocabulary(values).at(np.arange(len(values)))
    return np.array(values, np.float64 if kind == "double" else np.int64)


@settings(max_examples=40)
@pytest.mark.parametrize("name", EVENTS)
@given(data=DATA)
def test_every_record_has_the_bytes_that_fastavro_writes(name: str, data: Any) -> None:
    contract = CONTRACTS[name]
    rows = data.draw(st.lists(records(contract.schema), max_size=12))
    encoded = ColumnEncoder(contract, 77).encode(columns_of(contract.schema["fields"], rows), len(rows))
    assert encoded == Encoder(contract, 77).encode_all(rows)


@pytest.mark.parametrize(
    ("avro_type", "default"),
    [(["null", "string"], None), ("string", "web"), ("long", 7), ("boolean", True), ("double", 1.5),
     ({"type": "enum", "name": "Channel", "symbols": ["UNKNOWN", "WEB"]}, "WEB")],
)  # fmt: skip
def test_a_field_that_is_not_given_has_its_default(avro_type: Any, default: Any) -> None:
    known = CONTRACTS["OrderPaid"]
    new = {"name": "channel", "type": avro_type, "default": default, "doc": "New."}
    newer = replace(known, schema={**known.schema, "fields": [new, *known.schema["fields"]]})
    rows = [{"event_id": f"{n}", "occurred_at": n, "source": "s", "order_id": "o", "method": "CARD"} for n in range(3)]
    columns = columns_of(known.schema["fields"], rows)
    encoded = ColumnEncoder(newer, 77).encode(columns, len(rows))
    assert encoded == Encoder(newer, 77).encode_all(rows)
    assert encoded != ColumnEncoder(known, 77).encode(columns, len(rows))


def test_a_field_without_a_default_must_be_given() -> None:
    with pytest.raises(KeyError, match="event_id"):
        ColumnEncoder(CONTRACTS["OrderPaid"], 77).encode({}, 1)


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_integers_of_all_sizes_are_zig_zag_varints(values: list[int]) -> None:
    def varint(value: int) -> bytes:
        left, out = (value << 1) ^ (value >> 63), bytearray()
        while left > 0x7F:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        return bytes([*out, left])

    found = integers(np.array(values, np.int64))
    assert [bytes(cell[:n]) for cell, n in zip(found.cells, found.lengths, strict=True)] == list(map(varint, values))


@given(st.lists(st.integers(-(2**63) + 1, 2**63 - 1), min_size=1))
def test_decimals_of_all_sizes_are_read_back(values: list[int]) -> None:
    found = decimals(np.array(values, np.int64))
    for value, cell, length in zip(values, found.cells, found.lengths, strict=True):
        assert cell[0] == 2 * (length - 1)
        assert int.from_bytes(bytes(cell[1:length]), "big", signed=True) == value


def test_texts_of_one_length_may_come_as_a_matrix() -> None:
    matrix = np.frombuffer(b"abcdef", np.uint8).reshape(2, 3)
    assert bytes(Texts(matrix).cells().cells) == b"\x06abc\x06def"


@given(st.lists(st.text(max_size=70), min_size=1))
def test_texts_of_all_lengths_stand_behind_their_length(words: list[str]) -> None:
    found = texts([word.encode() for word in words]).cells()
    wanted = [encoded(word) for word in words]
    assert [bytes(cell[:n]) for cell, n in zip(found.cells, found.lengths, strict=True)] == wanted


def test_a_word_that_is_no_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="NOISE"):
        Vocabulary(("NOISE",)).at(np.zeros(1, np.int64)).symbols(("UNKNOWN", "CPU"))


def test_a_short_piece_does_not_disturb_its_neighbours() -> None:
    buffer, at = np.zeros(8, np.uint8), np.array([0, 4])
    for value in (b"ab", b"c"):
        constant(value, 2).lay(buffer, at)
    assert bytes(buffer) == b"abc\0abc\0"
