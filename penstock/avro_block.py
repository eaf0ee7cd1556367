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

    A block that fails is read again in parts: those that another reader suspects alone, the others together, and
    halved where the suspicion was wrong.
    """
    frames: list[pl.DataFrame] = []
    bad: list[tuple[int, str]] = []
    pending: list[Sequence[int]] = [range(len(members))]
    while pending:
        numbers = pending.pop()
        frame = _read(schema, _chosen(members, numbers))
        if frame is not None:
            index = pl.Series(INDEX, _chosen(positions, numbers), dtype=pl.Int64)
            frames.append(frame.insert_column(frame.width, index))
        elif len(numbers) == 1:
            bad.append((positions[numbers[0]], explain(schema.fields, members[numbers[0]], schema.header_bytes)))
        elif len(numbers) == len(members):
            pending += _parted(schema, members)
        else:
            middle = len(numbers) // 2
            pending += [numbers[:middle], numbers[middle:]]
    if len(frames) > 1:
        return pl.concat(frames).sort(INDEX), bad
    return (frames[0] if frames else None), bad


def _chosen(values: Sequence[T], numbers: Sequence[int]) -> Sequence[T]:
    return values if len(numbers) == len(values) else [values[number] for number in numbers]


def _parted(schema: BlockSchema, members: Sequence[bytes]) -> list[Sequence[int]]:
    """Return the numbers of the members in parts: those that fastavro can't read exactly, each, and all others.

    Only a guess, to find the few bad ones without reading the block many times: the two disagree on some bytes, and
    Polars decides. All suspected or none: in halves.
    """
    suspects: list[int] = []
    others: list[int] = []
    for number, member in enumerate(members):
        (others if _reads_exactly(schema, member) else suspects).append(number)
    if not suspects or not others:
        middle = len(members) // 2
        return [range(middle), range(middle, len(members))]
    return [others, *([number] for number in suspects)]


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
