"""Random records of every contract go through the codec and come back; fastavro's own reader sees the same."""

import io
import random
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Context
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.avro import HEADER_BYTES
from penstock.contracts import Schema
from tests.penstock import avro_reference as reference
from tests.penstock.avro_strategies import records

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("name", reference.NAMES)
@settings(max_examples=40)
@given(data=st.data())
def test_random_records_survive_the_round_trip(name: str, data: st.DataObject) -> None:
    batch = data.draw(st.lists(records(reference.CONTRACTS[name].schema), min_size=1, max_size=6))
    values = reference.encoder_of(name).encode_all(batch)
    decoded = reference.decoder_of(name).decode(values)
    assert decoded.rejections == []
    expected = {position: (name, _columns(name, record)) for position, record in enumerate(batch)}
    assert reference.rows_of(decoded) == expected


@pytest.mark.parametrize("name", reference.NAMES)
@settings(max_examples=40)
@given(data=st.data())
def test_fastavro_and_the_plain_reader_read_the_same_from_the_same_bytes(name: str, data: st.DataObject) -> None:
    contract = reference.CONTRACTS[name]
    value = reference.encoder_of(name).encode(data.draw(records(contract.schema)))
    ((_, columns),) = reference.rows_of(reference.decoder_of(name).decode([value])).values()
    stream = io.BytesIO(value[HEADER_BYTES:])
    theirs = fastavro.schemaless_reader(stream, fastavro.parse_schema(contract.schema))
    assert stream.read() == b""
    assert reference.as_columns(contract.schema, _unscaled(contract.schema, theirs)) == columns
    assert reference.read_any(reference.topic_of(name), value, strict=True) == (name, columns)


def test_a_batch_of_all_records_of_a_topic_keeps_every_position() -> None:
    chosen = random.Random(3)
    names = [chosen.choice(["OrderPlaced", "OrderPaid", "OrderCancelled", "Heartbeat"]) for _ in range(500)]
    values = [
        reference.encoder_of(name).encode(reference.sample(name, event_id=str(uuid.UUID(int=number))))
        for number, name in enumerate(names)
    ]
    rows = reference.rows_of(reference.decoder_of("OrderPlaced").decode(values))
    assert [rows[position][0] for position in range(500)] == names
    assert [uuid.UUID(rows[position][1]["event_id"]).int for position in range(500)] == list(range(500))


def test_an_empty_batch_decodes_to_nothing() -> None:
    decoded = reference.decoder_of("OrderPlaced").decode([])
    assert (decoded.records, decoded.items, decoded.rejections) == ({}, {}, [])


def test_an_order_without_items_is_an_order_all_the_same() -> None:
    value = reference.encoder_of("OrderPlaced").encode(reference.sample("OrderPlaced", items=[]))
    decoded = reference.decoder_of("OrderPlaced").decode([value])
    assert len(decoded.records["OrderPlaced"]) == 1
    assert len(decoded.items["OrderPlaced.items"]) == 0


def _columns(name: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return what the encoder took as what the decoder gives: readings are scaled, nothing else changes."""
    return {
        (f"{k}_e6" if k == "value" and name == "ReadingTaken" else k): _scaled(k, v, name) for k, v in record.items()
    }


def _scaled(key: str, value: Any, name: str) -> Any:
    return round(value * 1_000_000) if key == "value" and name == "ReadingTaken" else value


def _unscaled(schema: Schema, record: dict[str, Any]) -> dict[str, Any]:
    return {field["name"]: _plain(field["type"], record[field["name"]]) for field in schema["fields"]}


def _plain(avro_type: Any, value: Any) -> Any:
    """Undo fastavro's logical types."""
    if isinstance(avro_type, list):
        return None if value is None else _plain(avro_type[1], value)
    if isinstance(avro_type, str) or avro_type["type"] == "enum":
        return value
    if avro_type["type"] == "array":
        return [_unscaled(avro_type["items"], item) for item in value]
    undo = {
        "decimal": lambda: int(value.scaleb(avro_type["scale"], Context(prec=40))),
        "uuid": lambda: str(value),
        "timestamp-millis": lambda: (value - EPOCH) // timedelta(milliseconds=1),
    }
    return undo[avro_type["logicalType"]]()
