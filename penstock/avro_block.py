"""Reading many Avro payloads as one container block, safely.

Behind each payload stands an end marker of 16 bytes (random for the process, then the record's number), a field of
its own in the block's schema, and is compared after: without it a corrupt record can swallow a piece of its
neighbour and still look whole.

A record counts as decoded if, and only if, Polars reads it and takes exactly its bytes. What stands beside it in the
block never matters: each record begins where a marker that nobody could guess was found to end.
"""

import io
import json
import os
from collections.abc import Sequence
from itertools import islice
from typing import Any, TypeVar

import fastavro
import polars as pl

from penstock.avro_explain import explain

T = TypeVar("T")

INDEX = "_index"
"""Column of the record's position in the batch that was decoded (Int64)."""

HEADER = "_header"
END = "_end"
_MARKER_BYTES = 16
_SHRINKING = (512, 64)
"""Sizes of the blocks in which broken records are looked for: of 20,000 orders the first costs as much as one block."""
_FEW = 8
_SYNC = bytes(16)
_NONCE = os.urandom(8)

_markers: list[bytes] = []
_marker_column = pl.Series(END, [], dtype=pl.Binary)


class BlockSchema:
    """A schema that Polars can read, ready to stand at the front of a container.

    ``header_bytes`` come before each payload and are skipped.
    """

    def __init__(self, fields: Sequence[dict[str, Any]], header_bytes: int) -> None:
        header = {"name": HEADER, "type": {"type": "fixed", "name": "Header_", "size": header_bytes}}
        end = {"name": END, "type": {"type": "fixed", "name": "End_", "size": _MARKER_BYTES}}
        frame = {"type": "record", "name": "Block", "fields": [header, *fields, end]}
        entries = _text("avro.schema") + _text(json.dumps(frame)) + _text("avro.codec") + _text("null")
        self.prefix = b"Obj\x01" + _long(2) + entries + _long(0) + _SYNC
        self.header_bytes = header_bytes
        self.fields = fields
        self.member = fastavro.parse_schema({"type": "record", "name": "Member", "fields": [header, *fields]})


def read_block(
    schema: BlockSchema, members: Sequence[bytes], positions: Sequence[int]
) -> tuple[pl.DataFrame | None, list[tuple[int, str]]]:
    """Return the frame of all members that can be decoded, with :data:`INDEX` from ``positions`` (ascending), or
    None if there is none; and the positions of the others, each with the reason.
    """
    frame = _read(schema, members)
    if frame is not None:
        return _numbered(frame, positions), []
    bad = _broken(schema, members)
    good = sorted(set(range(len(members))).difference(bad))
    left = _read(schema, _chosen(members, good)) if good else None
    if good and left is None:
        raise AssertionError("records that can be read in small blocks can't be read in one: a bug")
    whole = None if left is None else _numbered(left, _chosen(positions, good))
    return whole, [(positions[number], explain(schema.fields, members[number], schema.header_bytes)) for number in bad]


def _numbered(frame: pl.DataFrame, positions: Sequence[int]) -> pl.DataFrame:
    return frame.insert_column(frame.width, pl.Series(INDEX, positions, dtype=pl.Int64))


def _chosen(values: Sequence[T], numbers: Sequence[int]) -> Sequence[T]:
    return [values[number] for number in numbers]


def _broken(schema: BlockSchema, members: Sequence[bytes]) -> list[int]:
    """Return the numbers of the members that can't be decoded, of a block in which there is one.

    Smaller and smaller blocks are read, of what was in a failing one; in the last of them those that fastavro can't
    read exactly come first, each alone. That is only a guess, to read few blocks: the two disagree on some bytes, and
    Polars decides.
    """
    doubtful: Sequence[int] = range(len(members))
    for size in _SHRINKING:
        doubtful = _failing(schema, members, doubtful, size)
    suspects = [number for number in doubtful if not _reads_exactly(schema, members[number])]
    suspected = set(suspects)
    others: Sequence[int] = [number for number in doubtful if number not in suspected]
    for size in (_SHRINKING[-1], _FEW, 1):
        others = _failing(schema, members, others, size)
    return sorted((*_failing(schema, members, suspects, 1), *others))


def _failing(schema: BlockSchema, members: Sequence[bytes], numbers: Sequence[int], size: int) -> list[int]:
    """Return those of ``numbers`` that were in a block of ``size`` that can't be read."""
    parts = (numbers[begin : begin + size] for begin in range(0, len(numbers), size))
    return [number for part in parts if _read(schema, _chosen(members, part)) is None for number in part]


def _reads_exactly(schema: BlockSchema, member: bytes) -> bool:
    stream = io.BytesIO(member)
    try:
        fastavro.schemaless_reader(stream, schema.member)
    except Exception:  # fastavro raises what its Python happens to raise on bytes like these
        return False
    return stream.tell() == len(member)


def _read(schema: BlockSchema, members: Sequence[bytes]) -> pl.DataFrame | None:
    """Return the members' fields; None if any of them can't be read, or takes more or less than its bytes."""
    count = len(members)
    markers, expected = _end_markers(count)
    parts: list[bytes] = [b""] * (2 * count)
    parts[0::2] = members
    parts[1::2] = islice(markers, count)
    body = b"".join(parts)
    container = b"".join((schema.prefix, _long(count), _long(len(body)), body, _SYNC))
    try:
        frame = pl.read_avro(io.BytesIO(container))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError):
        return None
    if len(frame) != count or not (frame[END] == expected).all():
        return None
    for name in (HEADER, END):
        frame.drop_in_place(name)  # frame.drop() is a query
    return frame


def _end_markers(count: int) -> tuple[list[bytes], pl.Series]:
    global _marker_column  # noqa: PLW0603  # a cache that only grows
    if len(_markers) < count:
        numbers = range(len(_markers), max(count, 2 * len(_markers)))
        _markers.extend(_NONCE + number.to_bytes(8, "little") for number in numbers)
        _marker_column = pl.Series(END, _markers, dtype=pl.Binary)
    return _markers, _marker_column[:count]


def _long(value: int) -> bytes:
    """Return Avro's zigzag encoding of a value of 0 or more."""
    rest, out = value << 1, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes((*out, rest))


def _text(value: str) -> bytes:
    return _long(len(value.encode())) + value.encode()
