"""A source partition's log in columns: a chunk of decoded records, or several put together. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from penstock.avro import INDEX, Decoded, Rejection
from penstock.letters import kept

SPINE = {
    "offset": pl.Int64,
    "appended_at": pl.Int64,
    "kind": pl.String,
    "event_id": pl.String,
    "occurred_at": pl.Int64,
    "reason": pl.String,
    "key_hash": pl.Int64,
    "value_hash": pl.Int64,
}
"""Columns of a log's spine: a row a record, ascending by offset. ``kind`` is the record's name; it,
``event_id`` and ``occurred_at`` are null for a record that can't be decoded, ``reason`` is null for all
others. The hashes are Python's, of this process, of what a letter
keeps of the record's bytes."""

_PLACES = ("offset", "appended_at", "key_hash", "value_hash")
_UNUSED = ("source",)


@dataclass
class PartitionLog:
    """The columns of [``start``, ``end``) of one partition.

    ``records`` holds a frame by record name, with ``offset`` besides its own columns; ``items`` one by
    ``Record.array``, with ``offset`` and the items' columns.
    """

    start: int
    end: int
    spine: pl.DataFrame
    records: dict[str, pl.DataFrame] = field(default_factory=dict)
    items: dict[str, pl.DataFrame] = field(default_factory=dict)


class Chunk(NamedTuple):
    """Consecutive records as they stood in the log: a list each of what the broker says of them."""

    offsets: Sequence[int]
    appended_ms: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]

    def places(self, max_record_bytes: int) -> pl.DataFrame:
        """Return a row a record: where and when it was appended, and the hashes of what a letter keeps of its bytes."""
        hashes = (_hashes(column, max_record_bytes) for column in (self.keys, self.values))
        columns = (self.offsets, self.appended_ms, *hashes)
        return pl.DataFrame(dict(zip(_PLACES, columns, strict=True)), schema={n: SPINE[n] for n in _PLACES})


class LogBuilder:
    """Collects decoded chunks, in offset order, into a :class:`PartitionLog`."""

    def __init__(self, max_record_bytes: int) -> None:
        self._max_record_bytes = max_record_bytes
        self._spines: list[pl.DataFrame] = []
        self._records: dict[str, list[pl.DataFrame]] = {}
        self._items: dict[str, list[pl.DataFrame]] = {}

    def add(self, chunk: Chunk, decoded: Decoded) -> None:
        """Add one chunk and what became of its values."""
        places = chunk.places(self._max_record_bytes)
        spines = [_rejected(places, decoded.rejections)]
        for name, frame in decoded.records.items():
            at = places[frame[INDEX]]
            common = frame.select("event_id", "occurred_at", kind=pl.lit(name), reason=pl.lit(None, pl.String))
            spines.append(pl.concat([at, common], how="horizontal").select(list(SPINE)))
            self._records.setdefault(name, []).append(_placed(frame.drop(_UNUSED, strict=False), places))
        for name, frame in decoded.items.items():
            self._items.setdefault(name, []).append(_placed(frame, places))
        self._spines.append(pl.concat(spines).sort("offset"))

    def build(self, start: int, end: int) -> PartitionLog:
        """Return what was collected as the log of [``start``, ``end``)."""
        spine = pl.concat(self._spines) if self._spines else pl.DataFrame(schema=SPINE)
        return PartitionLog(start, end, spine, _whole(self._records), _whole(self._items))


def _hashes(column: Sequence[bytes | None], max_record_bytes: int) -> list[int]:
    if max(map(len, filter(None, column)), default=0) > max_record_bytes:
        column = [kept(data, max_record_bytes) for data in column]
    return list(map(hash, column))


def _rejected(places: pl.DataFrame, rejections: Sequence[Rejection]) -> pl.DataFrame:
    positions = pl.Series([rejection.position for rejection in rejections], dtype=pl.Int64)
    reasons = pl.Series([rejection.reason for rejection in rejections], dtype=pl.String)
    absent = [pl.lit(None, dtype=SPINE[name]).alias(name) for name in ("kind", "event_id", "occurred_at")]
    return places[positions].with_columns(*absent, reason=reasons).select(list(SPINE))


def _placed(frame: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with the offsets of its rows in place of their index in the batch."""
    return frame.with_columns(offset=places["offset"].gather(frame[INDEX])).drop(INDEX)


def _whole(parts: dict[str, list[pl.DataFrame]]) -> dict[str, pl.DataFrame]:
    return {name: pl.concat(frames) for name, frames in parts.items()}
