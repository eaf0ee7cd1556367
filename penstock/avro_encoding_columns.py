"""Encoding in columns: many records of one contract at a time, to the same bytes as :class:`penstock.avro.Encoder`.

Each record gets a slot of one buffer, wide enough for the longest. Field by field, the encodings of all records are
laid into their slots where the field before ended. A field's encodings are cells of one width; what a cell holds beyond
its own length is covered by the next field, or lies behind the record's end. At last the slots are cut into bytes.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, TypeAlias

import fastavro
import numpy as np
import numpy.typing as npt

from penstock.avro_cells import Cells, Texts, constant, decimals, doubles, integers, joined_cells
from penstock.avro_encoding import encoder_schema
from penstock.avro_types import column_name, is_scaled, item_record, kind_of, plain_type
from penstock.contracts import Contract, Schema

Ints = npt.NDArray[np.int64]
Numbers: TypeAlias = "npt.NDArray[np.int64] | npt.NDArray[np.float64] | npt.NDArray[np.bool_]"

_ONE_BYTE = 64
"""A whole number from 0 on and below this is one byte as a varint."""


@dataclass(frozen=True)
class Optional:
    """A column of a union with null: ``column`` where ``there``, else null (what ``column`` has there is ignored)."""

    column: "Column"
    there: npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Items:
    """Different items, as columns: encoded once, and then picked from by :class:`Lists`."""

    columns: "Columns"
    size: int


@dataclass(frozen=True)
class Lists:
    """A column of arrays: record ``n`` has the next ``counts[n]`` of ``codes``, each a row of ``items``."""

    counts: Ints
    codes: Ints
    items: Items


Column: TypeAlias = "Numbers | Texts | Optional | Lists"
Columns: TypeAlias = Mapping[str, "Column"]


class ColumnEncoder:
    """Encodes records of one contract, given as columns under the names that :class:`penstock.avro.Encoder` takes.

    Integers, timestamps and decimals (unscaled) are integers of 64 bits; texts and enums are :class:`Texts`. A field
    whose column is not given has its default in each record: who does not know a new field need not.
    """

    def __init__(self, contract: Contract, schema_id: int) -> None:
        self._header = b"\0" + schema_id.to_bytes(4, "big")
        self._fields = [_planned(field) for field in contract.schema["fields"]]
        self._defaults = dict(_defaults(contract.schema))
        self._known: dict[str, tuple[Items, Cells]] = {}

    def encode(self, columns: Columns, size: int) -> list[bytes]:
        """Return the bytes of each of ``size`` records."""
        if not size:
            return []
        cells: list[Cells | _Arrays] = [constant(self._header, size)]
        for alike, fields in groupby(self._fields, lambda field: _is_plain_integer(field) and field.name in columns):
            own = list(fields)
            if alike and len(own) > 1:
                cells += _integers([columns[field.name] for field in own])
            else:
                cells += [each for field in own for each in self._field(field, columns, size)]
        buffer, starts, ends = _laid_out(cells, size)
        whole = buffer.tobytes()
        return [whole[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def _field(self, field: "_Field", columns: Columns, size: int) -> "list[Cells | _Arrays]":
        if field.name not in columns and field.name in self._defaults:
            return [constant(self._defaults[field.name], size)]
        column = columns[field.name]
        if isinstance(column, Lists):
            return self._lists(field, column)
        return [_cells(field, column)]

    def _lists(self, field: "_Field", column: Lists) -> "list[Cells | _Arrays]":
        known = self._known.get(field.name)
        if known is None or known[0] is not column.items:
            known = self._known[field.name] = column.items, _item_cells(field, column.items)
        # A block with its count, and an empty one that ends the array; an empty array is that one alone.
        counts = integers(column.counts)
        counts = Cells(counts.cells, np.where(column.counts == 0, 0, counts.lengths))
        return [counts, _Arrays(known[1], column.counts, column.codes), constant(b"\0", len(column.counts))]


@dataclass(frozen=True)
class _Arrays:
    """The items of each record's array, one behind the other."""

    items: Cells
    counts: Ints
    codes: Ints

    @property
    def width(self) -> int:
        """The most bytes that a record's items take."""
        sums = np.concatenate(([0], np.cumsum(self.items.lengths[self.codes])))
        ends = np.cumsum(self.counts)
        return int((sums[ends] - sums[ends - self.counts]).max(initial=0)) + self.items.width

    def lay(self, buffer: npt.NDArray[np.uint8], at: Ints) -> None:
        """Write the first item of all, then the second of those that have one, and so on."""
        firsts = np.cumsum(self.counts) - self.counts
        for rank in range(int(self.counts.max(initial=0))):
            rows = np.flatnonzero(self.counts > rank)
            places = at[rows]
            self.items.picked(self.codes[firsts[rows] + rank]).lay(buffer, places)
            at[rows] = places


class _Field(NamedTuple):
    """What is to be known of a field: its column's name, its kind, and where null and the rest stand in its union."""

    name: str
    kind: str
    symbols: tuple[str, ...]
    null: int | None
    parts: "tuple[_Field, ...]"
    """The fields of the record that an array holds."""


def _planned(field: Schema) -> _Field:
    name: str = field["name"] if is_scaled(field) else column_name(field)
    avro_type, item = field["type"], item_record(field["type"])
    kind = kind_of(avro_type)[0]
    symbols = plain_type(avro_type)["symbols"] if kind == "enum" else ()
    null = avro_type.index("null") if isinstance(avro_type, list) else None
    parts = tuple(map(_planned, item["fields"])) if item else ()
    return _Field(name, kind, tuple(symbols), null, parts)


def _defaults(schema: Schema) -> Iterator[tuple[str, bytes]]:
    """Yield the encodings of the fields' defaults, by column."""
    for field in encoder_schema(schema)["fields"]:
        if "default" in field:
            out = io.BytesIO()
            alone = fastavro.parse_schema({"type": "record", "name": "Default", "fields": [field]})
            fastavro.schemaless_writer(out, alone, {})
            yield field["name"], out.getvalue()


def _laid_out(cells: "list[Cells | _Arrays]", size: int) -> tuple[npt.NDArray[np.uint8], Ints, Ints]:
    """Return the buffer, and where each record begins and ends."""
    width = sum(field.width for field in cells)
    buffer = np.empty(size * width, np.uint8)
    starts = np.arange(size, dtype=np.int64) * width
    at = starts.copy()
    for field in cells:
        field.lay(buffer, at)
    return buffer, starts, at


def _is_plain_integer(field: _Field) -> bool:
    return field.null is None and field.kind in ("int", "long", "timestamp")


def _integers(columns: Sequence[Column]) -> "list[Cells | _Arrays]":
    """Return the encodings of neighbours that are whole numbers: those of one byte each as one field."""
    whole = np.stack([np.asarray(column).astype(np.int64, copy=False) for column in columns])
    small = (whole.min(axis=1) >= 0) & (whole.max(axis=1) < _ONE_BYTE)
    found: list[Cells | _Arrays] = []
    for of_one_byte, places in groupby(range(len(columns)), small.__getitem__):
        own = whole[list(places)]
        if of_one_byte:
            found.append(Cells((2 * own.T).astype(np.uint8), np.full(own.shape[1], len(own))))
        else:
            found += [integers(column) for column in own]
    return found


def _item_cells(field: _Field, items: Items) -> Cells:
    if not field.parts:
        raise TypeError(f"{field.name} is no array of records")
    cells: list[Cells | _Arrays] = [_cells(part, items.columns[part.name]) for part in field.parts]
    buffer, starts, ends = _laid_out(cells, items.size)
    return Cells(buffer.reshape(items.size, sum(part.width for part in cells)), ends - starts)


def _cells(field: _Field, column: Column) -> Cells:
    """Return the encodings of a field that is no array."""
    if field.null is not None:
        return _optional(field._replace(null=None), field.null, column)
    if isinstance(column, Texts):
        return column.symbols(field.symbols) if field.kind == "enum" else column.cells()
    if not isinstance(column, np.ndarray):
        raise TypeError(f"{field.name} can't be encoded from {type(column).__name__}")
    if field.kind == "double":
        return doubles(column.astype(np.float64, copy=False))
    if field.kind == "decimal":
        return decimals(column.astype(np.int64, copy=False))
    if field.kind == "boolean":
        return Cells(column.astype(np.uint8).reshape(-1, 1), np.ones(len(column), np.int64))
    if field.kind in ("int", "long", "timestamp"):
        return integers(column.astype(np.int64, copy=False))
    raise TypeError(f"{field.name}: {field.kind} is not encoded in columns")


def _optional(content: _Field, null: int, column: Column) -> Cells:
    cells = _cells(content, column.column if isinstance(column, Optional) else column)
    whole = joined_cells(constant(bytes([2 * (1 - null)]), len(cells.lengths)), cells)
    if not isinstance(column, Optional):
        return whole
    whole.cells[~column.there, 0] = 2 * null
    return Cells(whole.cells, np.where(column.there, whole.lengths, 1))
