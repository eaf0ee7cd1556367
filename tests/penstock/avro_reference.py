"""Another reading of Avro's bytes, written from the specification, to check the codec against: slow and plain.

``strict`` refuses all that the specification does. Otherwise two things pass, as the columnar codec has them: an
index of a union [null, X] other than 0 and 1 means X, and a long of ten bytes loses the bits above 64.
"""

import struct
import uuid
from collections.abc import Mapping
from typing import Any

import polars as pl

from penstock.avro import INDEX, Decoded, Decoder, Encoder
from penstock.contracts import Contract, Schema, load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import TOPICS, Topic

CONTRACTS = load_contracts()
LOCKED = dict(enumerate(CONTRACTS.values(), 1))
IDS = LockedIds(LOCKED, CONTRACTS)
MAX_BYTES = 100_000
NAMES = sorted(CONTRACTS)


class InvalidError(Exception):
    """These bytes are no such record."""


def topic_of(name: str) -> Topic:
    return next(topic for topic in TOPICS if CONTRACTS[name].folder in topic.folders)


def decoder_of(name: str) -> Decoder:
    return Decoder(topic_of(name), CONTRACTS, IDS, MAX_BYTES)


def encoder_of(name: str) -> Encoder:
    return Encoder(CONTRACTS[name], IDS.id_of(CONTRACTS[name], topic_of(name)))


class Reader:
    def __init__(self, data: bytes, strict: bool) -> None:
        self.data, self.at, self.strict = data, 0, strict

    def take(self, count: int) -> bytes:
        if count < 0 or self.at + count > len(self.data):
            raise InvalidError(f"{count} bytes at {self.at}")
        self.at += count
        return self.data[self.at - count : self.at]

    def long(self) -> int:
        value = 0
        for place in range(10):
            (byte,) = self.take(1)
            value |= (byte & 0x7F) << (7 * place)
            if byte < 0x80:
                break
        else:
            raise InvalidError("a long of more than ten bytes")
        if value >= 1 << 64:
            if self.strict:
                raise InvalidError("a long of more than 64 bits")
            value &= (1 << 64) - 1
        return (value >> 1) ^ -(value & 1)

    def value(self, avro_type: Any) -> Any:
        if isinstance(avro_type, list):
            return self.union(avro_type)
        if isinstance(avro_type, dict):
            return self.complex(avro_type)
        return getattr(self, f"read_{avro_type}")()

    def union(self, branches: list[Any]) -> Any:
        index = self.long()
        if index not in (0, 1) and self.strict:
            raise InvalidError(f"union index {index}")
        return None if index == 0 else self.value(branches[1])

    def complex(self, avro_type: Schema) -> Any:
        kind = avro_type["type"]
        if kind == "record":
            return {field["name"]: self.field(field) for field in avro_type["fields"]}
        if kind == "array":
            return self.array(avro_type["items"])
        if kind == "enum":
            index = self.long()
            if not 0 <= index < len(avro_type["symbols"]):
                raise InvalidError(f"enum index {index}")
            return avro_type["symbols"][index]
        if avro_type.get("logicalType") == "decimal":
            return self.decimal(avro_type)
        plain = self.value(kind)
        logical = avro_type.get("logicalType")
        if logical == "uuid" and len(plain.encode()) != 36:
            raise InvalidError("no UUID")
        if logical == "timestamp-millis" and not 0 <= plain < 253_402_300_800_000:
            raise InvalidError("out of time")
        return plain

    def array(self, items: Any) -> list[Any]:
        found: list[Any] = []
        while count := self.long():
            if count < 0:
                self.long()
            found += [self.value(items) for _ in range(abs(count))]
        return found

    def decimal(self, avro_type: Schema) -> int:
        raw = self.take(self.long())
        number = int.from_bytes(raw, "big", signed=True)
        if len(raw) > 16 or abs(number) >= 10 ** avro_type["precision"]:
            raise InvalidError("too many digits")
        return number

    def field(self, field: Schema) -> Any:
        value = self.value(field["type"])
        if "minimum" in field and not field["minimum"] <= value <= field["maximum"]:
            raise InvalidError(f"{field['name']} is out of bounds")
        return value

    def read_string(self) -> str:
        raw = self.take(self.long())
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise InvalidError("no UTF-8") from None
        if len(raw) > 1000 or "\0" in text:
            raise InvalidError("text that no table takes")
        return text

    def read_bytes(self) -> bytes:
        return self.take(self.long())

    def read_int(self) -> int:
        value = self.long()
        if not -(2**31) <= value < 2**31:
            raise InvalidError("an int of more than 32 bits")
        return value

    def read_long(self) -> int:
        return self.long()

    def read_boolean(self) -> bool:
        (byte,) = self.take(1)
        if byte > 1:
            raise InvalidError("neither true nor false")
        return bool(byte)

    def read_double(self) -> float:
        (value,) = struct.unpack("<d", self.take(8))
        if value - value != 0:
            raise InvalidError("no finite number")
        return float(value)


def read(contract: Contract, payload: bytes, strict: bool) -> dict[str, Any]:
    """Return the record, by the fields' names; raises InvalidError, also for bytes behind its end."""
    reader = Reader(payload, strict)
    record: dict[str, Any] = reader.value(contract.schema)
    if reader.at != len(payload):
        raise InvalidError("bytes are left")
    return record


def read_any(topic: Topic, value: bytes | None, strict: bool = False) -> tuple[str, dict[str, Any]] | None:
    """Return the record's name and columns for one Kafka value, or None when it can't be used."""
    if value is None or len(value) < 5 or len(value) > MAX_BYTES or value[0] != 0:
        return None
    contract = LOCKED.get(int.from_bytes(value[1:5], "big"))
    if contract is None or contract.folder not in topic.folders:
        return None
    try:
        return contract.name, as_columns(contract.schema, read(contract, value[5:], strict))
    except InvalidError:
        return None


def as_columns(schema: Schema, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record under the names and in the units of the codec's columns."""
    columns = {}
    for field in schema["fields"]:
        name, value, avro_type = field["name"], record[field["name"]], field["type"]
        plain = avro_type[1] if isinstance(avro_type, list) else avro_type
        if isinstance(plain, dict) and plain["type"] == "array":
            columns[name] = [as_columns(plain["items"], item) for item in value]
        elif isinstance(plain, dict) and plain.get("logicalType") == "decimal":
            columns[f"{name}_e{plain['scale']}"] = value
        elif plain == "double" and "minimum" in field:
            columns[f"{name}_e6"] = round(value * 1_000_000)
        else:
            columns[name] = value
    return columns


def rows_of(decoded: Decoded) -> dict[int, tuple[str, dict[str, Any]]]:
    """Return every decoded record by its position: name and columns, arrays as lists."""
    found: dict[int, tuple[str, dict[str, Any]]] = {}
    for name, frame in decoded.records.items():
        assert frame[INDEX].is_sorted()
        for row in frame.iter_rows(named=True):
            position = row.pop(INDEX)
            assert position not in found
            arrays = {key.partition(".")[2]: [] for key in decoded.items if key.startswith(f"{name}.")}
            found[position] = name, {**row, **arrays}
    for key, frame in decoded.items.items():
        assert frame[INDEX].is_sorted()
        name, _, array = key.partition(".")
        for row in frame.iter_rows(named=True):
            position = row.pop(INDEX)
            assert found[position][0] == name
            found[position][1][array].append(row)
    return found


def dtypes_of(decoded: Decoded) -> dict[str, pl.Schema]:
    return {key: frame.schema for key, frame in {**decoded.records, **decoded.items}.items()}


SAMPLES: dict[str, dict[str, Any]] = {
    "OrderPlaced": {
        "order_id": "o-1", "customer_id": "c-17", "country": "GB", "currency": "GBP", "amount_e4": 1_234_500,
        "items": [
            {"sku": "A1", "quantity": 2, "unit_price_e4": 617_250},
            {"sku": "Grüße", "quantity": 1, "unit_price_e4": 0},
        ],
    },
    "OrderPaid": {"order_id": "o-1", "method": "CARD"},
    "OrderShipped": {"order_id": "o-1", "carrier": "Post"},
    "OrderCancelled": {
        "order_id": "o-1", "reason": "RETURNED", "country": "GB", "currency": "GBP", "amount_e4": 99_900,
        "items": [{"sku": "A1", "quantity": 1, "unit_price_e4": 99_900}],
    },
    "Heartbeat": {},
    "ReadingTaken": {"device_id": "d-1", "sensor": "TEMPERATURE", "value": 21.25, "unit": "celsius"},
    "DeviceConnected": {"device_id": "d-1", "firmware": "1.2.3"},
    "BatteryLow": {"device_id": "d-1", "charge_percent": 7},
}  # fmt: skip
"""One record by event, without what all events carry."""


def sample(name: str, **changes: Any) -> dict[str, Any]:
    """Return an event of kind ``name`` in the encoder's form."""
    common = {"event_id": str(uuid.UUID(int=7)), "occurred_at": 1_700_000_000_123, "source": "test"}
    return {**common, **SAMPLES[name], **changes}
