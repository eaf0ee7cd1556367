"""Reading many Avro payloads as one container block, safely.

Around each payload stands an end marker of 16 bytes (random for the process, then the record's number), a field of its
own in the block's schema, and is compared after: without it a corrupt record can swallow a piece of its neighbour and
still look whole.
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import polars as pl

HEADER = "_header"
END = "_end"
_MARKER_BYTES = 16
_SYNC = bytes(16)
_NONCE = os.urandom(8)

_markers: list[bytes] = []
_marker_column = pl.Series(END, [], dtype=pl.Binary)


class BlockSchema:
    """A schema that Polars can read, ready to stand at the front of a container."""

    def __init__(self, fields: Sequence[dict[str, Any]], header_bytes: int) -> None:
        frame = {
            "type": "record",
            "name": "Block",
            "fields": [
                {"name": HEADER, "type": {"type": "fixed", "name": "Header_", "size": header_bytes}},
                *fields,
                {"name": END, "type": {"type": "fixed", "name": "End_", "size": _MARKER_BYTES}},
            ],
        }
        entries = _text("avro.schema") + _text(json.dumps(frame)) + _text("avro.codec") + _text("null")
        self.prefix = b"Obj\x01" + _long(2) + entries + _long(0) + _SYNC


def read_block(
    schema: BlockSchema, members: Sequence[bytes], header_bytes: int
) -> Iterator[tuple[pl.DataFrame | str, int]]:
    """Yield, in order, frames of consecutive members with the position of their first, or for a member that can't
    be decoded the reason and its position.

    A member counts as decoded only if reading it took exactly its bytes. Blocks that fail are halved.
    """
    pending = [(0, len(members))]
    while pending:
        start, stop = pending.pop()
        outcome = _read(schema, members[start:stop], header_bytes)
        if isinstance(outcome, str) and stop - start > 1:
            middle = (start + stop) // 2
            pending += [(middle, stop), (start, middle)]
        else:
            yield outcome, start


def _read(schema: BlockSchema, members: Sequence[bytes], header_bytes: int) -> pl.DataFrame | str:
    count = len(members)
    if count == 1 and len(members[0]) < header_bytes:
        return "shorter than a header"
    markers, expected = _end_markers(count)
    parts: list[bytes] = [b""] * (2 * count)
    parts[0::2] = members
    parts[1::2] = islice(markers, count)
    body = b"".join(parts)
    container = b"".join((schema.prefix, _long(count), _long(len(body)), body, _SYNC))
    try:
        frame = pl.read_avro(io.BytesIO(container))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        return _reason(error)
    if len(frame) != count or not (frame[END] == expected).all():
        return "its fields end before or behind its last byte"
    return frame.drop(HEADER, END)


def _reason(error: BaseException) -> str:
    if isinstance(error, pl.exceptions.PanicException):
        return "a length in it points outside of it"
    return str(error).splitlines()[0][:200]


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
