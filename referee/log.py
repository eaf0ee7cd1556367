"""Reading a source partition's log into columns, a bounded chunk at a time.

The referee reads by its own assignment: it joins no group, commits nothing and moves no other reader.
"""

import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple, cast

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock.avro import INDEX, Decoded, Decoder, Rejection
from penstock.errors import GaveUpWaiting, PenstockError, Unavailable
from penstock.kafka import REQUEST_TIMEOUT_S, client_config, translate, watermark_offsets
from penstock.letters import kept
from penstock.settings import Settings
from penstock.topics import group_id
from penstock.waiting import wait_for

CHUNK_RECORDS = 20_000
"""Records that are decoded at a time."""

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


class LogReader:
    """Reads ranges of partitions. Close it when done."""

    def __init__(self, settings: Settings, patience_s: float) -> None:
        """``patience_s``: how long the broker may deliver nothing before the reader gives up."""
        self._patience_s = patience_s
        self._max_record_bytes = settings.max_record_bytes
        config = client_config(
            settings,
            enable_auto_commit=False,
            auto_offset_reset="error",
            enable_partition_eof=True,
            fetch_queue_backoff_ms=10,
            queued_min_messages=CHUNK_RECORDS,
            fetch_message_max_bytes=2 << 20,
            # A fetch that waits at the end of one partition holds up the questions about the next.
            fetch_wait_max_ms=10,
            # librdkafka wants a group's name even of a reader that uses none.
            group_id=group_id(settings, "referee"),
        )
        self._consumer = Consumer(config)

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the log's start and end. Raises Unavailable."""
        return watermark_offsets(self._consumer, topic, partition)

    def read(self, topic: str, partition: int, start: int, end: int, decoder: Decoder) -> PartitionLog:
        """Return the log of [``start``, ``end``) of a partition of full topic name ``topic``.

        ``end`` must not be above the log's end. Offsets without a record are passed. Raises GaveUpWaiting
        when the broker delivers nothing, or the registry is away, for too long, PenstockError when ``start`` is no
        longer in the log. For a range that fits in memory: :meth:`pieces` is for any.
        """
        builder = LogBuilder(self._max_record_bytes)
        for chunk, _ in self._chunks(topic, partition, start, end):
            builder.add(chunk, self._decoded(decoder, chunk.values))
        return builder.build(start, end)

    def pieces(self, topic: str, partition: int, start: int, end: int, decoder: Decoder) -> Iterator[PartitionLog]:
        """Yield the log of [``start``, ``end``) in pieces of at most CHUNK_RECORDS records. Otherwise as :meth:`read`.

        The pieces follow one another without a gap; none is empty. Offsets without a record may be left at the end.
        """
        begin = start
        for chunk, position in self._chunks(topic, partition, start, end):
            builder = LogBuilder(self._max_record_bytes)
            builder.add(chunk, self._decoded(decoder, chunk.values))
            yield builder.build(begin, position)
            begin = position

    def _chunks(self, topic: str, partition: int, start: int, end: int) -> Iterator[tuple[Chunk, int]]:
        """Yield all records of a range, and the position behind each chunk."""
        if start >= end:
            return
        self._consumer.assign([TopicPartition(topic, partition, start)])
        position = start
        while position < end:
            chunk, position = self._fetch(f"{topic}/{partition}", position, end)
            if chunk.offsets:
                yield chunk, position
        self._consumer.unassign()

    def offset_at(self, topic: str, partition: int, append_ms: int) -> int | None:
        """Return the first offset whose record was appended at ``append_ms`` or later; None: there is none yet.

        Raises Unavailable.
        """
        asked = [TopicPartition(topic, partition, append_ms)]
        try:
            (found,) = self._consumer.offsets_for_times(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error) from None
        if found.error is not None:
            raise translate(found.error)
        return found.offset if found.offset >= 0 else None

    def _decoded(self, decoder: Decoder, values: Sequence[bytes | None]) -> Decoded:
        return wait_for("the registry", lambda: decoder.decode(values), timeout_s=self._patience_s)

    def _fetch(self, name: str, position: int, end: int) -> tuple[Chunk, int]:
        """Return the next records below ``end`` (none, if only offsets without one are left) and the
        position behind them."""
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            messages = self._consumer.consume(min(CHUNK_RECORDS, end - position), timeout=0.5)
            at_end = [_at_end(message) for message in messages if message.error() is not None]
            records = [message for message in messages if message.error() is None]
            offsets = cast(list[int], list(map(Message.offset, records)))
            below = bisect_left(offsets, end)
            if below < len(offsets) or any(at_end):
                return _chunk(records[:below], offsets[:below]), end
            if offsets:
                return _chunk(records, offsets), offsets[-1] + 1
        raise GaveUpWaiting(
            f"the broker delivered nothing of {name} from offset {position} on for {self._patience_s:.0f} s"
        )

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()


def _chunk(records: Sequence[Message], offsets: Sequence[int]) -> Chunk:
    appended = list(map(itemgetter(1), map(Message.timestamp, records)))
    return Chunk(offsets, appended, list(map(Message.key, records)), list(map(Message.value, records)))


def _at_end(message: Message) -> bool:
    """Return whether this message without a record says that the log ends here."""
    error = cast(KafkaError, message.error())
    if error.code() == KafkaError._PARTITION_EOF:
        return True
    if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
        raise PenstockError(
            f"{message.topic()}/{message.partition()}: the log's start moved while it was read "
            f"({error.str()}): run `penstock verify` again"
        )
    why = translate(error)
    if not isinstance(why, Unavailable):
        raise why
    return False
