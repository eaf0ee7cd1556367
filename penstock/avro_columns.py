"""From a writer's schema to the reader's columns: Avro's schema resolution, done in columns.

The rules are those of Avro 1.12, "Schema Resolution": fields match by name, a missing one takes the reader's default,
numbers widen, an enum symbol that the reader does not know becomes its default. On top stand Penstock's limits on
values (see :func:`_checks`), so that nothing which a table could not hold gets past the codec.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import fastavro.write
import polars as pl

from penstock.avro_block import INDEX, BlockSchema
from penstock.contracts import Schema
from penstock.errors import ProtectiveStop

MAX_TEXT_BYTES = 1_000
"""Longer texts would not fit a database index."""

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10,000."""

__all__ = ["INDEX", "Reading", "encoder_schema", "prepare_encoding", "reading_of"]

_BAD = "_bad"
_FALSE, _TRUE = b"\0", b"\1"
_UNSCALED = "penstock-unscaled"
_NUMBERS = {"int": pl.Int32, "long": pl.Int64, "float": pl.Float32, "double": pl.Float64}
_STORED_AS = {"uuid": "string", "fixed": "bytes", "timestamp": "long"}
_WIDENS = {"int": ("int", "long", "float", "double"), "long": ("long", "float", "double"), "float": ("float", "double")}


class Check(NamedTuple):
    """A mask of rows that are wrong, one of a few words, and a sentence."""

    wrong: pl.Expr
    reason: str
    detail: str


class Column(NamedTuple):
    """How to make one of the reader's columns from a block's frame."""

    expression: pl.Expr
    checks: tuple[Check, ...]


class Resolved(NamedTuple):
    """The reader's columns of the rows that are right, the items of its arrays, and (index, reason, detail)."""

    frame: pl.DataFrame
    items: dict[str, pl.DataFrame]
    rejected: list[tuple[int, str, str]]


@dataclass(frozen=True)
class Reading:
    """How records of one writer's schema become the columns of the reader's."""

    name: str
    block_schema: BlockSchema
    columns: tuple[Column, ...]
    arrays: Mapping[str, tuple[Column, ...]]
    absent: Mapping[str, pl.DataFrame]

    def resolve(self, block: pl.DataFrame) -> Resolved:
        """Turn a frame that Polars read (with :data:`INDEX`) into the reader's columns."""
        rejected: dict[int, tuple[str, str]] = {}
        frame = _apply(self.columns, block, rejected)
        items = {}
        for name, columns in self.arrays.items():
            rows = block.select(INDEX, name).filter(pl.col(name).list.len() > 0).explode(name).unnest(name)
            items[name] = _apply(columns, rows, rejected)
        if rejected:
            good = ~pl.col(INDEX).is_in(list(rejected))
            frame = frame.filter(good)
            items = {name: child.filter(good) for name, child in items.items()}
        return Resolved(frame, {**items, **self.absent}, [(i, *why) for i, why in rejected.items()])


def _apply(columns: tuple[Column, ...], rows: pl.DataFrame, rejected: dict[int, tuple[str, str]]) -> pl.DataFrame:
    checks = [check for column in columns for check in column.checks]
    bad = pl.any_horizontal(check.wrong for check in checks) if checks else pl.lit(value=False)
    frame = rows.select(INDEX, *(column.expression for column in columns), bad.fill_null(value=False).alias(_BAD))
    if frame[_BAD].any():
        for check in checks:
            for index in rows.filter(check.wrong)[INDEX]:
                rejected.setdefault(index, (check.reason, check.detail))
    return frame.drop(_BAD)


def reading_of(writer: Schema, reader: Schema) -> Reading:
    """Return how to read ``writer``'s records as ``reader``'s.

    Raises ProtectiveStop if the two don't resolve, which `penstock schemas check` would have refused.
    """
    writer = _texts_as_wanted(writer, reader)
    written = {field["name"]: field for field in writer["fields"]}
    block = BlockSchema([_block_field(field) for field in writer["fields"]], 5)
    columns, arrays, absent = [], {}, {}
    for field in reader["fields"]:
        name, item = field["name"], _item_record(field["type"])
        if item is None:
            columns.append(_column(written.get(name), field, writer["name"]))
        elif name in written:
            columns_of_item = {f["name"]: f for f in _item_fields(written[name], writer["name"])}
            arrays[name] = tuple(_column(columns_of_item.get(f["name"]), f, item["name"]) for f in item["fields"])
        else:
            types = {column_name(f): _dtype(f) for f in item["fields"]}
            absent[name] = pl.DataFrame(schema={INDEX: pl.Int64, **types})
    return Reading(reader["name"], block, tuple(columns), arrays, absent)


def _texts_as_wanted(writer: Schema, reader: Schema) -> Schema:
    """Return the writer's schema with ``bytes`` that the reader wants as ``string`` written so, and the other way.

    The bytes are the same, and so Polars checks that they are UTF-8.
    """
    wanted = {field["name"]: field["type"] for field in reader["fields"]}
    fields = [
        {**field, "type": _text_as_wanted(field["type"], wanted.get(field["name"], field["type"]))}
        for field in writer["fields"]
    ]
    return {**writer, "fields": fields}


def _text_as_wanted(have: Any, want: Any) -> Any:
    if _item_record(have) and _item_record(want):
        return {"type": "array", "items": _texts_as_wanted(_plain(have)["items"], _plain(want)["items"])}
    kind = _kind(want)[0]
    if {_kind(have)[0], kind} != {"string", "bytes"}:
        return have
    return [branch if branch == "null" else kind for branch in have] if isinstance(have, list) else kind


def column_name(field: Schema) -> str:
    """Return the name of a field's column: scaled integers carry their scale."""
    kind, _ = _kind(field["type"])
    if kind == "decimal":
        return f"{field['name']}_e{_plain(field['type'])['scale']}"
    return f"{field['name']}_e6" if _is_scaled(field) else str(field["name"])


def _plain(avro_type: Any) -> Any:
    """Return a type without its null branch."""
    if isinstance(avro_type, list):
        (avro_type,) = [branch for branch in avro_type if branch != "null"]
    return avro_type


def _kind(avro_type: Any) -> tuple[str, bool]:
    """Return what a type is to us, and if it may be null."""
    plain = _plain(avro_type)
    optional = isinstance(avro_type, list)
    if isinstance(plain, str):
        return plain, optional
    logical = plain.get("logicalType")
    return {"decimal": "decimal", "timestamp-millis": "timestamp", "uuid": "uuid"}.get(logical, plain["type"]), optional


def _is_scaled(field: Schema) -> bool:
    return _kind(field["type"])[0] in ("float", "double") and "maximum" in field


def _item_record(avro_type: Any) -> Schema | None:
    plain = _plain(avro_type)
    return plain["items"] if isinstance(plain, dict) and plain["type"] == "array" else None


def _item_fields(field: Schema, record: str) -> list[Schema]:
    item = _item_record(field["type"])
    if item is None:
        raise _unresolvable(record, field["name"], "is no array in the writer's schema")
    fields: list[Schema] = item["fields"]
    return fields


def _unresolvable(record: str, field: str, why: str) -> ProtectiveStop:
    return ProtectiveStop(f"{record}.{field} {why}: the writer's and this build's schema don't resolve")


def _block_field(field: Schema) -> Schema:
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


def _dtype(field: Schema) -> Any:
    kind, _ = _kind(field["type"])
    if kind == "enum":
        return pl.Enum(_plain(field["type"])["symbols"])
    if kind in ("decimal", "timestamp") or _is_scaled(field):
        return pl.Int64
    plain = {"string": pl.String, "uuid": pl.String, "boolean": pl.Boolean, "bytes": pl.Binary, "fixed": pl.Binary}
    return {**_NUMBERS, **plain}[kind]


def _column(written: Schema | None, field: Schema, record: str) -> Column:
    """Return the column of the reader's ``field``."""
    name = column_name(field)
    if written is None:
        if "default" not in field:
            raise _unresolvable(record, field["name"], "has no default and is not in the writer's schema")
        return Column(pl.lit(_default(field), dtype=_dtype(field)).alias(name), ())
    source, value = _value(written, field, record)
    checks = [*_written_checks(written), *_checks(source, field)]
    if _kind(written["type"])[1] and not _kind(field["type"])[1]:
        checks.append(Check(source.is_null(), "malformed", f"{field['name']} is null"))
    return Column(value.alias(name), tuple(checks))


def _default(field: Schema) -> Any:
    kind, _ = _kind(field["type"])
    default = field["default"]
    if default is None:
        return None
    if kind == "decimal":
        return int.from_bytes(default.encode("latin-1"), "big", signed=True)
    if kind in ("bytes", "fixed"):
        return default.encode("latin-1")
    return round(default * 1_000_000) if _is_scaled(field) else default


def _value(written: Schema, field: Schema, record: str) -> tuple[pl.Expr, pl.Expr]:
    """Return the raw column that the checks look at, and the reader's value."""
    source = pl.col(written["name"])
    have, want = _kind(written["type"])[0], _kind(field["type"])[0]
    if have == want == "enum":
        return _enum(source, _plain(written["type"])["symbols"], _plain(field["type"]))
    if have == want == "decimal":
        if _plain(written["type"])["scale"] != _plain(field["type"])["scale"]:
            raise _unresolvable(record, field["name"], "has another scale in the writer's schema")
        unscaled = source.to_physical()
        return unscaled, unscaled.cast(pl.Int64, strict=False)
    if have == want == "boolean":
        return source, source == _TRUE
    plain = _plain_value(source, have, want)
    if plain is None:
        raise _unresolvable(record, field["name"], f"is {have} in the writer's schema and {want} in the reader's")
    return plain, _scaled(plain) if _is_scaled(field) else plain


def _plain_value(source: pl.Expr, have: str, want: str) -> pl.Expr | None:
    """Return the column as the reader's type; None if the writer's does not widen to it."""
    if have != "int" and _STORED_AS.get(have, have) == _STORED_AS.get(want, want):
        return source
    return source.cast(_NUMBERS[want], strict=False) if want in _WIDENS.get(have, ()) else None


def _scaled(source: pl.Expr) -> pl.Expr:
    return (source.cast(pl.Float64) * 1_000_000).round().cast(pl.Int64, strict=False)


def _enum(source: pl.Expr, written: list[str], enum: Schema) -> tuple[pl.Expr, pl.Expr]:
    symbols: list[str] = enum["symbols"]
    known = pl.Enum(symbols)
    inside = source.is_between(0, len(written) - 1)
    index = pl.when(inside).then(source)
    if written == symbols:
        return pl.when(source.is_not_null()).then(inside), index.cast(pl.UInt8).cat.to(known)
    readers = [symbol if symbol in symbols else enum.get("default") for symbol in written]
    value = index.replace_strict(list(range(len(written))), readers, return_dtype=pl.String).cast(known)
    unknown = inside & (value.is_not_null() | source.is_null())
    return pl.when(source.is_not_null()).then(unknown), value


def _written_checks(written: Schema) -> Iterator[Check]:
    """Yield what Avro says of the writer's type and Polars does not check."""
    name, source, (kind, _) = written["name"], pl.col(written["name"]), _kind(written["type"])
    if kind == "int":
        yield Check(~source.is_between(-(2**31), 2**31 - 1), "malformed", f"{name} has more than 32 bits")
    if kind == "boolean":
        wrong = (source != _FALSE) & (source != _TRUE)
        yield Check(wrong, "malformed", f"{name} is neither true nor false")


def _checks(source: pl.Expr, field: Schema) -> Iterator[Check]:
    """Yield the limits on values: what a number, text or time must be to be counted and kept."""
    name, (kind, _) = field["name"], _kind(field["type"])
    if kind in ("string", "uuid"):
        yield Check(
            source.str.len_bytes() > MAX_TEXT_BYTES, "bad-text", f"{name} is longer than {MAX_TEXT_BYTES} bytes"
        )
        yield Check(source.str.contains("\0", literal=True), "bad-text", f"{name} has a NUL character")
    if kind == "uuid":
        yield Check(source.str.len_bytes() != 36, "bad-text", f"{name} is no UUID")
    if kind == "enum":
        yield Check(~source, "out-of-range", f"{name} is no symbol of its enum")
    if kind == "timestamp":
        yield Check(~source.is_between(0, END_OF_TIME_MS - 1), "out-of-range", f"{name} is before 1970 or after 9999")
    if kind == "decimal":
        limit = 10 ** _plain(field["type"])["precision"]
        yield Check(
            ~source.is_between(1 - limit, limit - 1), "out-of-range", f"{name} has more digits than its precision"
        )
    if kind in ("float", "double"):
        yield Check(~source.is_finite(), "not-a-number", f"{name} is no finite number")
    if "minimum" in field:
        low, high = field["minimum"], field["maximum"]
        yield Check(~source.is_between(low, high), "out-of-range", f"{name} is not in {low} to {high}")


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
    name = field["name"] if _is_scaled(field) else column_name(field)
    return {"name": name, "type": convert(field["type"])}


def prepare_encoding() -> None:
    """Teach fastavro to write unscaled integers as decimals, by a logical type of our own. Safe to do again."""
    fastavro.write.LOGICAL_WRITERS[f"bytes-{_UNSCALED}"] = _unscaled_bytes


def _unscaled_bytes(value: int, _schema: Schema) -> bytes:
    return value.to_bytes((value.bit_length() + 8) // 8, "big", signed=True)
