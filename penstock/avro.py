"""The columnar codec: Avro records in Confluent's wire format, a batch at a time.

Encoding is fastavro's. Decoding reads the plain records of one schema id with NumPy (:mod:`penstock.avro_plain`). What
is not plain is joined into one in-memory Avro container block, which Polars reads in one call (see
:mod:`penstock.avro_block`); if that fails the block is parted, down to single records. What comes out never depends on
who read a record, nor on its neighbours.

Columns have the fields' names, and these types: ``decimal`` becomes an Int64 of unscaled units with the scale
in its name (``amount_e4``); a ``double`` field with bounds becomes an Int64 of 1/1,000,000 (``value_e6``);
timestamps are Int64 milliseconds; enums are ``pl.Enum`` of the reader's symbols. An array of records becomes a frame of
its own (``OrderPlaced.items``), a row an item.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import fastavro
import numpy as np
import polars as pl

from penstock.arrow_text import Ints
from penstock.avro_block import INDEX, read_block
from penstock.avro_columns import HEADER_BYTES, Reading, Resolved, reading_of
from penstock.avro_cursor import Bytes
from penstock.avro_encoding import encoder_schema, prepare_encoding
from penstock.contracts import Contract, contracts_of
from penstock.schema_ids import SchemaIds
from penstock.topics import Topic

__all__ = ["HEADER_BYTES", "INDEX", "Decoded", "Decoder", "Encoder", "Rejection"]

_HEADER_BITS = np.uint64((1 << 8 * HEADER_BYTES) - 1)


class Rejection(NamedTuple):
    """A record that can't be used: its position in the batch, one of a few words, and a sentence."""

    position: int
    reason: str
    detail: str


@dataclass
class Decoded:
    """A decoded batch.

    ``records`` holds a frame by record name, ``items`` one by ``Record.array_field``; all have :data:`INDEX`,
    ascending. Each position of the batch is in exactly one of the frames of ``records``, or once in ``rejections``
    (ascending). A kind of record of which none could be read may have an empty frame or none.
    """

    records: dict[str, pl.DataFrame] = field(default_factory=dict)
    items: dict[str, pl.DataFrame] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)

    def part(self, begin: int, end: int) -> "Decoded":
        """Return what the positions [``begin``, ``end``) would have been decoded to as a batch of their own."""
        return Decoded(
            {name: _part(frame, begin, end) for name, frame in self.records.items()},
            {name: _part(frame, begin, end) for name, frame in self.items.items()},
            [one._replace(position=one.position - begin) for one in self.rejections if begin <= one.position < end],
        )


def _part(frame: pl.DataFrame, begin: int, end: int) -> pl.DataFrame:
    index = frame[INDEX].to_numpy()
    first, behind = np.searchsorted(index, (begin, end)).tolist()
    found = frame[first:behind]
    return found.replace_column(frame.get_column_index(INDEX), pl.Series(INDEX, index[first:behind] - begin))


class Decoder:
    """Decodes the records of one topic into the columns of ``contracts``, the reader's current schemas."""

    def __init__(self, topic: Topic, contracts: Mapping[str, Contract], ids: SchemaIds, max_bytes: int) -> None:
        self._topic = topic
        self._contracts = contracts_of(topic, contracts)
        self._ids = ids
        self._max_bytes = max_bytes
        self._readings: dict[bytes, Reading] = {}

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Decode a batch. Raises ProtectiveStop and Unavailable as :meth:`SchemaIds.writer` does."""
        parts = _Parts()
        members, lengths, positions = self._within_limits(values, parts.rejections)
        if not members:
            return parts.joined()
        data = Bytes(members, lengths)
        for header, rows in _by_header(members, data):
            reading = self._reading(header)
            if isinstance(reading, Reading):
                parts.add(reading, members, data, rows, positions)
            else:
                numbers = range(len(members)) if rows is None else rows.tolist()
                parts.rejections += [Rejection(int(positions[number]), *reading) for number in numbers]
        return parts.joined()

    def _within_limits(
        self, values: Sequence[bytes | None], rejections: list[Rejection]
    ) -> tuple[Sequence[bytes], Ints, Ints]:
        """Return the values that may be decoded, how long they are, and their positions."""
        whole: Sequence[bytes] = values  # type: ignore[assignment]  # as len() finds out
        try:
            lengths = np.fromiter(map(len, whole), np.int64, len(whole))
            if lengths.max(initial=0) <= self._max_bytes:
                return whole, lengths, np.arange(len(whole))
        except TypeError:
            pass
        kept, positions = [], []
        for index, value in enumerate(values):
            if value is None:
                rejections.append(Rejection(index, "no-value", "the record has no value"))
            elif len(value) > self._max_bytes:
                detail = f"{len(value)} bytes are more than the limit of {self._max_bytes}"
                rejections.append(Rejection(index, "too-large", detail))
            else:
                kept.append(value)
                positions.append(index)
        return kept, np.array(list(map(len, kept)), np.int64), np.array(positions, np.int64)

    def _reading(self, header: bytes) -> Reading | tuple[str, str]:
        """Return how to read records with this header, or the reason and detail why they can't be read."""
        known = self._readings.get(header)
        if known is not None:
            return known
        if len(header) < HEADER_BYTES or header[0] != 0:
            begin = header.hex() or "nothing"
            return "not-avro", f"begins with {begin} in place of a zero byte and a schema id"
        schema_id = int.from_bytes(header[1:], "big")
        writer = self._ids.writer(schema_id, self._topic)
        if writer is None:
            return "unknown-schema", f"schema id {schema_id} is none of topic {self._topic.name}"
        reading = reading_of(writer.schema, self._contracts[writer.name].schema)
        self._readings[header] = reading
        return reading


@dataclass
class _Parts:
    """What the schema ids of a batch, one after the other, gave."""

    frames: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    items: dict[str, list[pl.DataFrame]] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)

    def add(
        self, reading: Reading, members: Sequence[bytes], data: Bytes, rows: Ints | None, positions: Ints
    ) -> None:
        """Decode the members ``rows`` (None: all), which have one schema id; ``data`` and ``positions`` are of all."""
        left = np.arange(len(members)) if rows is None else rows
        if reading.plain is not None:
            read = reading.plain.read(data, rows, positions[left])
            self._take(reading, reading.resolve_plain(read.block))
            left = left[read.left]
        if len(left):
            self._read_with_polars(reading, [members[number] for number in left.tolist()], positions[left].tolist())

    def _read_with_polars(self, reading: Reading, members: Sequence[bytes], positions: Sequence[int]) -> None:
        block, bad = read_block(reading.block_schema, members, positions)
        self.rejections += [Rejection(position, "malformed", detail) for position, detail in bad]
        if block is not None:
            self._take(reading, reading.resolve(block))

    def _take(self, reading: Reading, result: Resolved) -> None:
        self.frames.setdefault(reading.name, []).append(result.frame)
        for name, frame in result.items.items():
            self.items.setdefault(f"{reading.name}.{name}", []).append(frame)
        self.rejections += [Rejection(*row) for row in result.rejected]

    def joined(self) -> Decoded:
        """Return the batch, in its order."""
        return Decoded(
            {name: _joined(parts) for name, parts in self.frames.items()},
            {name: _joined(parts) for name, parts in self.items.items()},
            sorted(self.rejections),
        )


def _by_header(members: Sequence[bytes], data: Bytes) -> list[tuple[bytes, Ints | None]]:
    """Return the headers in their order, and the numbers of the members with each (None: all)."""
    codes = data.words(data.starts) & _HEADER_BITS
    lengths = data.ends - data.starts
    if int(lengths.min()) < HEADER_BYTES:  # what stands there is of the next member
        by_header: dict[bytes, list[int]] = {}
        for number, member in enumerate(members):
            by_header.setdefault(member[:HEADER_BYTES], []).append(number)
        return [(header, np.array(numbers)) for header, numbers in sorted(by_header.items())]
    if (codes == codes[0]).all():
        return [(members[0][:HEADER_BYTES], None)]
    order = np.argsort(codes, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return sorted((members[rows[0]][:HEADER_BYTES], rows) for rows in groups)


def _joined(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return parts[0] if len(parts) == 1 else pl.concat(parts).sort(INDEX, maintain_order=True)


class Encoder:
    """Encodes records of one contract, given under the columns' names and types (``amount_e4``, milliseconds).

    A bounded ``double`` field takes its float under the field's own name.
    """

    def __init__(self, contract: Contract, schema_id: int) -> None:
        prepare_encoding()
        self._header = b"\0" + schema_id.to_bytes(4, "big")
        self._schema = fastavro.parse_schema(encoder_schema(contract.schema))
        self._write: Callable[..., None] = fastavro.schemaless_writer

    def encode(self, record: Mapping[str, Any]) -> bytes:
        """Return one record's bytes."""
        out = io.BytesIO()
        out.write(self._header)
        self._write(out, self._schema, record)
        return out.getvalue()

    def encode_all(self, records: Iterable[Mapping[str, Any]]) -> list[bytes]:
        """Return the bytes of each of ``records``."""
        return [self.encode(record) for record in records]
