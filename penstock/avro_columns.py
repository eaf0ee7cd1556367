"""From a writer's schema to the reader's columns: Avro's schema resolution, done in columns.

The rules are those of Avro 1.12, "Schema Resolution": fields match by name, a missing one takes the reader's default,
numbers widen, an enum symbol that the reader does not know becomes its default. On top stand Penstock's limits on
values (:mod:`penstock.avro_checks`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from penstock.avro_block import INDEX, BlockSchema
from penstock.avro_checks import TRUE, Check, value_checks, written_checks
from penstock.avro_plain import Block, PlainReader, plain_reader
from penstock.avro_types import (
    NUMBERS,
    block_field,
    column_name,
    dtype_of,
    is_scaled,
    item_record,
    kind_of,
    plain_type,
)
from penstock.contracts import Schema
from penstock.errors import ProtectiveStop

__all__ = ["HEADER_BYTES", "INDEX", "Reading", "column_name", "reading_of"]

HEADER_BYTES = 5
"""Confluent's wire format: a zero byte and a 4-byte schema id, big-endian, before the payload."""

_BAD = "_bad"
_STORED_AS = {"uuid": "string", "fixed": "bytes", "timestamp": "long"}
_WIDENS = {"int": ("int", "long", "float", "double"), "long": ("long", "float", "double"), "float": ("float", "double")}


class Column(NamedTuple):
    """How to make one of the reader's columns from a block's frame."""

    expression: pl.Expr
    checks: tuple[Check, ...]
    plain: pl.Expr
    """The same of a plain block, where a boolean is one already."""


class Selection:
    """Columns of the reader and the checks of their rows, made once: expressions cost more to build than to use."""

    def __init__(self, columns: Sequence[Column], *, plain: bool) -> None:
        self._checks = [check for column in columns for check in column.checks if check.of_plain or not plain]
        wrong = [check.wrong for check in self._checks]
        bad = pl.any_horizontal(wrong) if wrong else pl.lit(value=False)
        expressions = [column.plain if plain else column.expression for column in columns]
        self._expressions = [pl.col(INDEX), *expressions, bad.fill_null(value=False).alias(_BAD)]

    def apply(self, rows: pl.DataFrame, rejected: dict[int, tuple[str, str]]) -> pl.DataFrame:
        """Return the columns of all ``rows``; wrong ones go to ``rejected`` too, each for the first reason."""
        frame = rows.select_seq(self._expressions)
        if frame[_BAD].any():
            for check in self._checks:
                for index in rows.filter(check.wrong)[INDEX]:
                    rejected.setdefault(index, (check.reason, check.detail))
        frame.drop_in_place(_BAD)  # frame.drop() is a query
        return frame


class Selections(NamedTuple):
    """Those of a record: of its own fields, and of the items of its arrays."""

    fields: Selection
    arrays: Mapping[str, Selection]


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
    plain: PlainReader | None
    """Reads the plain ones of these records; None where their schema has types that it does not know."""
    of_block: Selections
    of_plain: Selections
    absent: Mapping[str, pl.DataFrame]

    def resolve(self, block: pl.DataFrame) -> Resolved:
        """Turn a frame that Polars read (with :data:`INDEX`) into the reader's columns."""
        lists = {name: block.select(INDEX, name).filter(pl.col(name).list.len() > 0) for name in self.of_block.arrays}
        items = {name: rows.explode(name).unnest(name) for name, rows in lists.items()}
        return self._resolved(self.of_block, Block(block, items))

    def resolve_plain(self, block: Block) -> Resolved:
        """Turn plain records into the reader's columns."""
        return self._resolved(self.of_plain, block)

    def _resolved(self, wanted: Selections, block: Block) -> Resolved:
        rejected: dict[int, tuple[str, str]] = {}
        frame = wanted.fields.apply(block.frame, rejected)
        items = {name: parts.apply(block.items[name], rejected) for name, parts in wanted.arrays.items()}
        if rejected:
            good = ~pl.col(INDEX).is_in(list(rejected))
            frame = frame.filter(good)
            items = {name: child.filter(good) for name, child in items.items()}
        return Resolved(frame, {**items, **self.absent}, [(i, *why) for i, why in rejected.items()])


def reading_of(writer: Schema, reader: Schema) -> Reading:
    """Return how to read ``writer``'s records as ``reader``'s.

    Raises ProtectiveStop if the two don't resolve, which `penstock schemas check` would have refused.
    """
    writer = _texts_as_wanted(writer, reader)
    written = {field["name"]: field for field in writer["fields"]}
    block = BlockSchema([block_field(field) for field in writer["fields"]], HEADER_BYTES)
    columns, arrays, absent = [], {}, {}
    for field in reader["fields"]:
        name, item = field["name"], item_record(field["type"])
        if item is None:
            columns.append(_column(written.get(name), field, writer["name"]))
        elif name in written:
            of_item = {f["name"]: f for f in _item_fields(written[name], writer["name"])}
            arrays[name] = [_column(of_item.get(f["name"]), f, item["name"]) for f in item["fields"]]
        else:
            types = {column_name(f): dtype_of(f) for f in item["fields"]}
            absent[name] = pl.DataFrame(schema={INDEX: pl.Int64, **types})
    of_block, of_plain = (
        Selections(Selection(columns, plain=plain), {name: Selection(of, plain=plain) for name, of in arrays.items()})
        for plain in (False, True)
    )
    return Reading(reader["name"], block, plain_reader(writer, HEADER_BYTES), of_block, of_plain, absent)


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
    if item_record(have) and item_record(want):
        return {"type": "array", "items": _texts_as_wanted(plain_type(have)["items"], plain_type(want)["items"])}
    kind = kind_of(want)[0]
    if {kind_of(have)[0], kind} != {"string", "bytes"}:
        return have
    return [branch if branch == "null" else kind for branch in have] if isinstance(have, list) else kind


def _item_fields(field: Schema, record: str) -> list[Schema]:
    item = item_record(field["type"])
    if item is None:
        raise _unresolvable(record, field["name"], "is no array in the writer's schema")
    fields: list[Schema] = item["fields"]
    return fields


def _unresolvable(record: str, field: str, why: str) -> ProtectiveStop:
    return ProtectiveStop(f"{record}.{field} {why}: the writer's and this build's schema don't resolve")


def _column(written: Schema | None, field: Schema, record: str) -> Column:
    """Return the column of the reader's ``field``."""
    name = column_name(field)
    if written is None:
        if "default" not in field:
            raise _unresolvable(record, field["name"], "has no default and is not in the writer's schema")
        default = pl.lit(_default(field), dtype=dtype_of(field)).alias(name)
        return Column(default, (), default)
    source, value = _value(written, field, record)
    checks = [*written_checks(written), *value_checks(source, field)]
    if kind_of(written["type"])[1] and not kind_of(field["type"])[1]:
        checks.append(Check(source.is_null(), "malformed", f"{field['name']} is null"))
    plain = pl.col(written["name"]) if kind_of(field["type"])[0] == "boolean" else value
    return Column(value.alias(name), tuple(checks), plain.alias(name))


def _default(field: Schema) -> Any:
    kind, _ = kind_of(field["type"])
    default = field["default"]
    if default is None:
        return None
    if kind == "decimal":
        return int.from_bytes(default.encode("latin-1"), "big", signed=True)
    if kind in ("bytes", "fixed"):
        return default.encode("latin-1")
    return round(default * 1_000_000) if is_scaled(field) else default


def _value(written: Schema, field: Schema, record: str) -> tuple[pl.Expr, pl.Expr]:
    """Return the raw column that the checks look at, and the reader's value."""
    source = pl.col(written["name"])
    have, want = kind_of(written["type"])[0], kind_of(field["type"])[0]
    if have == want == "enum":
        return _enum(source, plain_type(written["type"])["symbols"], plain_type(field["type"]))
    if have == want == "decimal":
        if plain_type(written["type"])["scale"] != plain_type(field["type"])["scale"]:
            raise _unresolvable(record, field["name"], "has another scale in the writer's schema")
        unscaled = source.to_physical()
        return unscaled, unscaled.cast(pl.Int64, strict=False)
    if have == want == "boolean":
        return source, source == TRUE
    plain = _plain_value(source, have, want)
    if plain is None:
        raise _unresolvable(record, field["name"], f"is {have} in the writer's schema and {want} in the reader's")
    return plain, _scaled(plain) if is_scaled(field) else plain


def _plain_value(source: pl.Expr, have: str, want: str) -> pl.Expr | None:
    """Return the column as the reader's type; None if the writer's does not widen to it."""
    if have != "int" and _STORED_AS.get(have, have) == _STORED_AS.get(want, want):
        return source
    return source.cast(NUMBERS[want], strict=False) if want in _WIDENS.get(have, ()) else None


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
