"""What a field's Avro type is to the codec: its kind, its column, and the type to read its bytes with."""

from typing import Any

import polars as pl

from penstock.contracts import Schema

NUMBERS = {"int": pl.Int32, "long": pl.Int64, "float": pl.Float32, "double": pl.Float64}


def column_name(field: Schema) -> str:
    """Return the name of a field's column: scaled integers carry their scale."""
    kind, _ = kind_of(field["type"])
    if kind == "decimal":
        return f"{field['name']}_e{plain_type(field['type'])['scale']}"
    return f"{field['name']}_e6" if is_scaled(field) else str(field["name"])


def plain_type(avro_type: Any) -> Any:
    """Return a type without its null branch."""
    if isinstance(avro_type, list):
        (avro_type,) = [branch for branch in avro_type if branch != "null"]
    return avro_type


def kind_of(avro_type: Any) -> tuple[str, bool]:
    """Return what a type is to us, and if it may be null."""
    plain = plain_type(avro_type)
    optional = isinstance(avro_type, list)
    if isinstance(plain, str):
        return plain, optional
    logical = plain.get("logicalType")
    return {"decimal": "decimal", "timestamp-millis": "timestamp", "uuid": "uuid"}.get(logical, plain["type"]), optional


def is_scaled(field: Schema) -> bool:
    """Return True for a number with bounds: its column is in units of 1/1,000,000."""
    return kind_of(field["type"])[0] in ("float", "double") and "maximum" in field


def item_record(avro_type: Any) -> Schema | None:
    """Return the record that an array holds; None for all other types."""
    plain = plain_type(avro_type)
    return plain["items"] if isinstance(plain, dict) and plain["type"] == "array" else None


def dtype_of(field: Schema) -> Any:
    """Return the Polars type of a field's column. Arrays have none: they become frames of their own."""
    kind, _ = kind_of(field["type"])
    if kind == "enum":
        return pl.Enum(plain_type(field["type"])["symbols"])
    if kind in ("decimal", "timestamp") or is_scaled(field):
        return pl.Int64
    plain = {"string": pl.String, "uuid": pl.String, "boolean": pl.Boolean, "bytes": pl.Binary, "fixed": pl.Binary}
    return {**NUMBERS, **plain}[kind]


def block_field(field: Schema) -> Schema:
    """Return a field for :class:`penstock.avro_block.BlockSchema`."""
    return {"name": field["name"], "type": _block_type(field["type"], field["name"])}


def _block_type(avro_type: Any, path: str) -> Any:
    """Return the type to read with Polars: the same bytes, without what Polars can't or need not know.

    Polars cuts an ``int`` down to 32 bits and takes any byte but 1 for false: both are read as they are here, and
    checked later.
    """
    if isinstance(avro_type, list):
        return [_block_type(branch, path) for branch in avro_type]
    if isinstance(avro_type, str):
        one_byte = {"type": "fixed", "name": f"{path}_byte", "size": 1}
        return {"int": "long", "boolean": one_byte}.get(avro_type, avro_type)
    if avro_type["type"] == "enum":
        return "long"
    if avro_type["type"] == "array":
        fields = [
            {"name": f["name"], "type": _block_type(f["type"], f"{path}_{f['name']}")}
            for f in avro_type["items"]["fields"]
        ]
        return {"type": "array", "items": {"type": "record", "name": f"{path}_item", "fields": fields}}
    if avro_type["type"] == "fixed":
        return {**avro_type, "name": f"{path}_fixed"}
    is_decimal = avro_type.get("logicalType") == "decimal"
    return avro_type if is_decimal else _block_type(avro_type["type"], path)
