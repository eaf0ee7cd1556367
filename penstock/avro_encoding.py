"""Writing with fastavro what the codec reads: records under the columns' names and types."""

from collections.abc import Callable
from typing import Any

import fastavro.write

from penstock.avro_types import column_name, is_scaled
from penstock.contracts import Schema

_UNSCALED = "penstock-unscaled"


def encoder_schema(schema: Schema) -> Schema:
    """Return a schema of the same bytes that takes the columns' names and types."""

    def convert(avro_type: Any) -> Any:
        if isinstance(avro_type, list):
            return [convert(branch) for branch in avro_type]
        if isinstance(avro_type, str):
            return avro_type
        if avro_type.get("logicalType") == "decimal":
            kept = {key: value for key, value in avro_type.items() if key not in ("precision", "scale")}
            return {**kept, "logicalType": _UNSCALED}
        if avro_type["type"] == "array":
            return {**avro_type, "items": convert(avro_type["items"])}
        if avro_type["type"] == "record":
            return encoder_schema(avro_type)
        return {key: value for key, value in avro_type.items() if key != "logicalType"}

    return {**schema, "fields": [_encoder_field(field, convert) for field in schema["fields"]]}


def _encoder_field(field: Schema, convert: Callable[[Any], Any]) -> Schema:
    name = field["name"] if is_scaled(field) else column_name(field)
    default = {"default": field["default"]} if "default" in field else {}  # what is not given is written as this
    return {"name": name, "type": convert(field["type"]), **default}


def prepare_encoding() -> None:
    """Teach fastavro to write unscaled integers as decimals, by a logical type of our own. Safe to do again."""
    fastavro.write.LOGICAL_WRITERS[f"bytes-{_UNSCALED}"] = _unscaled_bytes


def _unscaled_bytes(value: int, _schema: Schema) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)
