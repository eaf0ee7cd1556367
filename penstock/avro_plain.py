"""Reading plain Avro records in columns with NumPy: a field of all records at a time.

A record is *plain* when nothing of it is unusual: texts of ASCII without NUL, lengths and numbers of few bytes, arrays
of few items in one block. Nearly all are, and are read here at a third of what Polars' reader costs. All others are
left to that (:mod:`penstock.avro_block`), which alone says what is broken. What is read here could be read in no other
way, and its bytes are used up exactly.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.ma  # Polars asks for it at the first array: at start, not in the first batch
import polars as pl

from penstock.arrow_text import Bools, Ints, text_column
from penstock.avro_block import INDEX
from penstock.avro_cursor import (
    MAX_DECIMAL_BYTES,
    MAX_TEXT_BYTES,
    Bytes,
    Column,
    Cursor,
    decimals_at,
    doubles_at,
    texts_at,
)
from penstock.avro_types import item_record, kind_of
from penstock.contracts import Schema

MAX_ITEMS = 32
"""Arrays of more are not plain: the first items of all arrays are read together, then the second ones, and so on."""

_PLAIN_KINDS = {
    **dict.fromkeys(("string", "uuid"), "text"),
    **dict.fromkeys(("int", "long", "timestamp", "enum"), "long"),
    **{kind: kind for kind in ("double", "boolean", "decimal")},
}


class Field(NamedTuple):
    """A field's name, its kind, where null stands in its union (None: no union), and the fields of an array's items."""

    name: str
    kind: str
    null: int | None
    parts: "tuple[Field, ...]"


class Block(NamedTuple):
    """Records as they were written: a frame of the fields, and a flat frame an array; both with :data:`INDEX`."""

    frame: pl.DataFrame
    items: Mapping[str, pl.DataFrame]


class Read(NamedTuple):
    """What is plain of a batch, and the numbers of the members that are not."""

    block: Block
    left: Ints


@dataclass(frozen=True)
class PlainReader:
    """Reads the plain ones among records of one writer's schema, behind ``header_bytes`` each."""

    fields: tuple[Field, ...]
    header_bytes: int

    def read(self, data: Bytes, rows: Ints | None, positions: Ints) -> Read:
        """Read the members ``rows`` (None: all), whose positions in the batch are ``positions``."""
        starts, ends = (data.starts, data.ends) if rows is None else (data.starts[rows], data.ends[rows])
        cursor = Cursor(data, starts.copy(), ends)
        cursor.skip(self.header_bytes)
        columns: list[tuple[Field, Column]] = []
        arrays: list[tuple[Field, Ints, list[Column]]] = []
        for field in self.fields:
            if field.parts:
                arrays.append((field, *_array(field, cursor)))
            else:
                columns.append((field, _column(field, cursor)))
        cursor.refuse(cursor.at != ends)
        return _made(cursor, columns, arrays, positions)


def plain_reader(writer: Schema, header_bytes: int) -> PlainReader | None:
    """Return the reader of a schema's plain records; None for a schema with a type that is not read here."""
    fields = tuple(map(_planned, writer["fields"]))
    return PlainReader(tuple(filter(None, fields)), header_bytes) if all(fields) else None


def _planned(field: Schema) -> Field | None:
    kind, optional = kind_of(field["type"])
    item = item_record(field["type"])
    if item is not None:
        parts = tuple(map(_planned, item["fields"]))
        known = tuple(part for part in parts if part is not None and not part.parts)
        return None if optional or len(known) < len(parts) else Field(field["name"], "array", None, known)
    if kind not in _PLAIN_KINDS:
        return None
    return Field(field["name"], _PLAIN_KINDS[kind], field["type"].index("null") if optional else None, ())


def _column(field: Field, cursor: Cursor) -> Column:
    """Move over a field that is no array."""
    if field.null is not None:
        return _optional(field, cursor)
    if field.kind == "text":
        return cursor.span(0, MAX_TEXT_BYTES)
    if field.kind == "decimal":
        return cursor.span(1, MAX_DECIMAL_BYTES)
    if field.kind == "long":
        return Column(cursor.long())
    if field.kind == "boolean":
        value = cursor.byte()
        cursor.refuse(value > 1)
        return Column(value.astype(np.int64))
    at = cursor.at.copy()
    cursor.skip(8)
    return Column(at)


def _optional(field: Field, cursor: Cursor) -> Column:
    branch = cursor.byte()
    cursor.refuse((branch != 0) & (branch != 2))  # the zig-zags of 0 and 1
    there = branch == (0 if field.null else 2)
    content = field._replace(null=None)
    if there.all():
        return _column(content, cursor)
    rows = np.flatnonzero(there)
    part = cursor.part(rows)
    found = _column(content, part)
    cursor.merge(rows, part)
    return _spread(found, rows, len(there))._replace(there=there)


def _spread(found: Column, rows: Ints, size: int) -> Column:
    """Return a column of ``size`` rows with ``found`` at ``rows``; the others hold anything."""
    first, length = np.zeros(size, np.int64), None
    first[rows] = found.first
    if found.length is not None:
        length = np.zeros(size, np.int64)
        length[rows] = found.length
    return Column(first, length)


def _array(field: Field, cursor: Cursor) -> tuple[Ints, list[Column]]:
    """Move over arrays: return how many items each has, and the columns of all items in their order."""
    counts = cursor.long()
    if cursor.refuse(wrong := (counts < 0) | (counts > MAX_ITEMS)):
        counts[wrong] = 0
    firsts = np.cumsum(counts) - counts
    found: list[tuple[Ints, list[Column]]] = []
    for rank in range(int(counts.max(initial=0))):
        rows = np.flatnonzero(counts > rank)
        part = cursor.part(rows)
        found.append((firsts[rows] + rank, [_column(of_item, part) for of_item in field.parts]))
        cursor.merge(rows, part)
    full = np.flatnonzero(counts)
    part = cursor.part(full)
    part.refuse(part.byte() != 0)  # no second block
    cursor.merge(full, part)
    return counts, [_gathered(part, found, number, int(counts.sum())) for number, part in enumerate(field.parts)]


def _gathered(field: Field, found: Sequence[tuple[Ints, list[Column]]], number: int, size: int) -> Column:
    """Return a column of all items, of what was found rank by rank."""
    first = np.zeros(size, np.int64)
    length = np.zeros(size, np.int64) if field.kind in ("text", "decimal") else None
    there = None if field.null is None else np.ones(size, np.bool_)
    for places, columns in found:
        column = columns[number]
        first[places] = column.first
        if length is not None and column.length is not None:
            length[places] = column.length
        if there is not None and column.there is not None:
            there[places] = column.there
    return Column(first, length, there)


def _made(
    cursor: Cursor,
    columns: Iterable[tuple[Field, Column]],
    arrays: Iterable[tuple[Field, Ints, list[Column]]],
    positions: Ints,
) -> Read:
    size = len(positions)
    frame = [_series(field, column, cursor, None) for field, column in columns]
    children = {}
    for field, counts, parts in arrays:
        parents = np.repeat(np.arange(size), counts)
        children[field.name] = parents, [
            _series(part, column, cursor, parents) for part, column in zip(field.parts, parts, strict=True)
        ]
    whole = Block(
        pl.DataFrame([*frame, pl.Series(INDEX, positions)]),
        {
            name: pl.DataFrame([pl.Series(INDEX, positions[parents]), *items])
            for name, (parents, items) in children.items()
        },
    )
    if not cursor.bad.any():
        return Read(whole, np.empty(0, np.int64))
    good = ~cursor.bad
    kept = {name: items.filter(pl.Series(good[children[name][0]])) for name, items in whole.items.items()}
    return Read(Block(whole.frame.filter(pl.Series(good)), kept), np.flatnonzero(cursor.bad))


def _series(field: Field, found: Column, cursor: Cursor, parents: Ints | None) -> pl.Series:
    """Return a column's values; who has a text that is not plain is refused (an item refuses its parent)."""
    if field.kind == "text":
        words, lengths, odd = texts_at(cursor.data, found)
        if odd is not None:
            cursor.refuse_rows(np.flatnonzero(odd) if parents is None else parents[odd])
        return text_column(words, lengths, found.there).alias(field.name)
    values: Bools | Ints | np.ndarray = found.first
    if field.kind == "decimal":
        values = decimals_at(cursor.data, found)
    elif field.kind == "double":
        values = doubles_at(cursor.data, found)
    elif field.kind == "boolean":
        values = found.first != 0
    series = pl.Series(field.name, values)
    return series if found.there is None else series.set(pl.Series(~found.there), None)
