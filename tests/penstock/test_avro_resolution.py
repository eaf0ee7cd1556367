"""Records of older and newer versions in one batch are read as the current one, in columns."""

import copy
from typing import Any

import polars as pl
import pytest

from penstock.avro import Decoded, Decoder, Encoder
from penstock.avro_columns import reading_of
from penstock.compatibility import violations
from penstock.contracts import Contract, Schema
from penstock.errors import ProtectiveStop
from penstock.schema_ids import LockedIds
from penstock.topics import Topic

TOPIC = Topic("orders", "source", ("orders",))

OLD: Schema = {
    "type": "record", "name": "TripEnded", "namespace": "io.example", "fields": [
        {"name": "event_id", "type": "string"},
        {"name": "passengers", "type": "int"},
        {"name": "distance", "type": "float"},
        {"name": "rating", "type": ["null", "int"], "default": None},
        {"name": "kind", "type": {
            "type": "enum", "name": "Kind", "symbols": ["UNKNOWN", "TAXI", "BUS"], "default": "UNKNOWN"}},
        {"name": "stops", "type": {"type": "array", "items": {"type": "record", "name": "Stop", "fields": [
            {"name": "place", "type": "string"},
            {"name": "waited", "type": "int"},
        ]}}},
    ],
}  # fmt: skip


def newer() -> Schema:
    """Fields and item fields added with defaults, an enum symbol added, int -> long, float -> double."""
    schema = copy.deepcopy(OLD)
    fields = {field["name"]: field for field in schema["fields"]}
    fields["passengers"]["type"] = "long"
    fields["distance"]["type"] = "double"
    fields["rating"]["type"] = ["null", "long"]
    fields["kind"]["type"]["symbols"] = ["UNKNOWN", "TRAM", "BUS", "TAXI"]
    items = fields["stops"]["type"]["items"]["fields"]
    items[1]["type"] = "long"
    money = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
    items += [
        {"name": "fare", "type": money, "default": "\u0001\u0000"},
        {"name": "note", "type": ["null", "string"], "default": None},
    ]
    extra = {"name": "tag", "type": {"type": "array", "items": {"type": "record", "name": "Tag", "fields": [
        {"name": "text", "type": "string"}]}}, "default": []}  # fmt: skip
    colour = {"type": "enum", "name": "Colour", "symbols": ["UNKNOWN", "RED"], "default": "UNKNOWN"}
    schema["fields"] = [
        {"name": "city", "type": "string", "default": "nowhere"},
        *schema["fields"],
        {"name": "tip", "type": money, "default": "\u0000"},
        {"name": "colour", "type": colour, "default": "RED"},
        {"name": "speed", "type": "double", "minimum": 0, "maximum": 300, "default": 1.5},
        {"name": "electric", "type": "boolean", "default": False},
        extra,
    ]
    return schema


def contract(schema: Schema) -> Contract:
    return Contract(schema["name"], "orders", schema)


def decoded(reader: Schema, *batch: tuple[Schema, dict[str, Any]]) -> Decoded:
    """Encode each record with its schema, decode all in one batch as ``reader``."""
    schemas = [reader, *(schema for schema, _ in batch)]
    versions = list({contract(schema).fingerprint: contract(schema) for schema in schemas}.values())
    ids = {version.fingerprint: number for number, version in enumerate(versions, 1)}
    current = {reader["name"]: contract(reader)}
    locked = LockedIds(dict(enumerate(versions, 1)), current)
    values = [Encoder(contract(s), ids[contract(s).fingerprint]).encode(record) for s, record in batch]
    return Decoder(TOPIC, current, locked, 10_000).decode(values)


def old_trip(number: int, kind: str = "TAXI") -> dict[str, Any]:
    stops = [{"place": f"p{number}", "waited": number}]
    return {
        "event_id": f"e{number}",
        "passengers": number,
        "distance": 1.5,
        "rating": None,
        "kind": kind,
        "stops": stops,
    }


def new_trip(number: int, kind: str = "TAXI") -> dict[str, Any]:
    stops = [{"place": f"p{number}", "waited": number, "fare_e2": 7, "note": "n"}]
    added = {"city": "Zürich", "tip_e2": 5, "colour": "UNKNOWN", "speed": 2.0, "electric": True, "tag": [{"text": "t"}]}
    return {**old_trip(number, kind), "passengers": 2**40, "rating": 2**40, "stops": stops, **added}


def test_old_and_new_versions_in_one_batch_become_the_columns_of_the_new_one() -> None:
    old, new = OLD, newer()
    batch = [(old, old_trip(0)), (new, new_trip(1)), (old, old_trip(2, "BUS")), (new, new_trip(3, "TRAM"))]
    result = decoded(new, *batch)
    assert result.rejections == []
    frame = result.records["TripEnded"]
    assert frame.to_dict(as_series=False) == {
        "_index": [0, 1, 2, 3],
        "city": ["nowhere", "Zürich", "nowhere", "Zürich"],
        "event_id": ["e0", "e1", "e2", "e3"],
        "passengers": [0, 2**40, 2, 2**40],
        "distance": [1.5] * 4,
        "rating": [None, 2**40, None, 2**40],
        "kind": ["TAXI", "TAXI", "BUS", "TRAM"],
        "tip_e2": [0, 5, 0, 5],
        "colour": ["RED", "UNKNOWN", "RED", "UNKNOWN"],
        "speed_e6": [1_500_000, 2_000_000, 1_500_000, 2_000_000],
        "electric": [False, True, False, True],
    }
    assert frame.schema["passengers"] == pl.Int64
    assert frame.schema["distance"] == pl.Float64
    assert result.items["TripEnded.stops"].to_dict(as_series=False) == {
        "_index": [0, 1, 2, 3],
        "place": ["p0", "p1", "p2", "p3"],
        "waited": [0, 1, 2, 3],
        "fare_e2": [256, 7, 256, 7],
        "note": [None, "n", None, "n"],
    }
    assert result.items["TripEnded.tag"].to_dict(as_series=False) == {"_index": [1, 3], "text": ["t", "t"]}


def test_an_old_reader_takes_a_symbol_that_it_does_not_know_for_unknown() -> None:
    older, newer_enum = OLD, copy.deepcopy(OLD)
    newer_enum["fields"][4]["type"]["symbols"] = ["UNKNOWN", "TRAM", "TAXI", "BUS"]
    batch = [(older, old_trip(0, "BUS")), (newer_enum, old_trip(1, "TRAM")), (newer_enum, old_trip(2, "BUS"))]
    result = decoded(older, *batch)
    assert result.rejections == []
    assert result.records["TripEnded"]["kind"].to_list() == ["BUS", "UNKNOWN", "BUS"]


def test_a_writers_extra_field_is_read_over() -> None:
    extra = copy.deepcopy(OLD)
    extra["fields"].insert(1, {"name": "ignored", "type": ["null", "string"]})
    result = decoded(OLD, (extra, {**old_trip(1), "ignored": "a\0b"}), (OLD, old_trip(2)))
    assert result.records["TripEnded"]["event_id"].to_list() == ["e1", "e2"]
    assert "ignored" not in result.records["TripEnded"].columns


def test_an_int_beyond_32_bits_is_rejected_also_where_the_reader_has_a_long() -> None:
    reader = newer()
    value = Encoder(contract(OLD), 1).encode(old_trip(3))
    at = value.index(b"e3") + 2
    beyond = value[:at] + bytes([0x8C, 0x80, 0x80, 0x80, 0x40]) + value[at + 1 :]
    ids = LockedIds({1: contract(OLD)}, {"TripEnded": contract(reader)})
    result = Decoder(TOPIC, {"TripEnded": contract(reader)}, ids, 10_000).decode([beyond, value])
    assert [rejection.position for rejection in result.rejections] == [0]


@pytest.mark.parametrize(("have", "want"), [("string", "bytes"), ("bytes", "string")])
def test_text_and_bytes_widen_to_each_other(have: str, want: str) -> None:
    writer = {**OLD, "fields": [{"name": "text", "type": have}]}
    reader = {**OLD, "fields": [{"name": "text", "type": want}]}
    text = {"string": "Zürich", "bytes": "Zürich".encode()}
    result = decoded(reader, (writer, {"text": text[have]}), (reader, {"text": text[want]}))
    assert result.records["TripEnded"]["text"].to_list() == [text[want]] * 2


def test_bytes_that_are_no_text_are_rejected_by_a_reader_that_wants_text() -> None:
    writer = {**OLD, "fields": [{"name": "text", "type": "bytes"}]}
    reader = {**OLD, "fields": [{"name": "text", "type": "string"}]}
    result = decoded(reader, (writer, {"text": b"\xff\xfe"}), (writer, {"text": b"fine"}))
    assert [(r.position, r.reason, r.detail) for r in result.rejections] == [(0, "malformed", "text: is not UTF-8")]
    assert result.records["TripEnded"]["text"].to_list() == ["fine"]


@pytest.mark.parametrize(
    ("have", "want"), [("int", "double"), ("long", "double"), ("float", "double"), ("int", "float")]
)
def test_numbers_widen_and_are_scaled_if_the_reader_has_bounds(have: str, want: str) -> None:
    writer = {**OLD, "fields": [{"name": "value", "type": have}]}
    plain = {**OLD, "fields": [{"name": "value", "type": want}]}
    bounded = {**OLD, "fields": [{"name": "value", "type": want, "minimum": 0, "maximum": 1000}]}
    assert decoded(plain, (writer, {"value": 7})).records["TripEnded"]["value"].to_list() == [7.0]
    assert decoded(bounded, (writer, {"value": 7})).records["TripEnded"]["value_e6"].to_list() == [7_000_000]


def test_a_null_that_the_reader_does_not_allow_is_rejected() -> None:
    reader = copy.deepcopy(OLD)
    reader["fields"][3] = {"name": "rating", "type": "int"}
    result = decoded(reader, (OLD, old_trip(1)), (OLD, {**old_trip(2), "rating": 4}))
    assert [(rejection.position, rejection.reason) for rejection in result.rejections] == [(0, "malformed")]
    assert result.records["TripEnded"]["rating"].to_list() == [4]


def test_versions_that_do_not_resolve_stop_loudly_and_name_the_field() -> None:
    reader = copy.deepcopy(OLD)
    reader["fields"].append({"name": "wheels", "type": "int"})
    with pytest.raises(ProtectiveStop, match=r"TripEnded\.wheels"):
        decoded(reader, (OLD, old_trip(1)))


def test_what_the_compatibility_rules_pass_the_codec_can_resolve() -> None:
    """Each field type against each: where no rule is broken, reading_of finds a way; else it may refuse."""
    types: list[Any] = [
        "int", "long", "float", "double", "string", "bytes", "boolean", ["null", "int"], ["null", "long"],
        ["null", "string"], ["null", "double"], {"type": "string", "logicalType": "uuid"},
        {"type": "long", "logicalType": "timestamp-millis"},
        {"type": "bytes", "logicalType": "decimal", "precision": 5, "scale": 2},
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2},
        {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 4},
        {"type": "fixed", "name": "F", "size": 4}, {"type": "fixed", "name": "F", "size": 5},
        {"type": "enum", "name": "E", "symbols": ["UNKNOWN", "A"], "default": "UNKNOWN"},
        {"type": "enum", "name": "E", "symbols": ["UNKNOWN", "B"], "default": "UNKNOWN"},
        {"type": "array", "items": {"type": "record", "name": "I", "fields": [{"name": "x", "type": "int"}]}},
        {"type": "array", "items": {"type": "record", "name": "I", "fields": [{"name": "x", "type": "long"}]}},
    ]  # fmt: skip
    passed = 0
    for have in types:
        for want in types:
            writer = {**OLD, "fields": [{"name": "f", "type": have}]}
            reader = {**OLD, "fields": [{"name": "f", "type": want}]}
            if not violations(reader, writer):
                reading_of(writer, reader)
                passed += 1
    assert passed >= len(types) + 12
