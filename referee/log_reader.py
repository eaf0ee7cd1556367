"""Reading a source partition's log, a bounded chunk at a time.

The referee reads by its own assignment: it joins no group, commits nothing and moves no other reader.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from penstock.avro import Decoded, Decoder
from penstock.errors import GaveUpWaiting, PenstockError, Unavailable
from penstock.kafka import REQUEST_TIMEOUT_S, client_config, translate, watermark_offsets
from penstock.settings import Settings
from penstock.topics import group_id
from penstock.waiting import wait_for
from referee.log import Chunk, LogBuilder, PartitionLog

CHUNK_RECORDS = 50_000
"""Records that are decoded at a time."""

QUEUED_RECORDS = 20_000
"""Records that the client keeps ready."""


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
            queued_min_messages=QUEUED_RECORDS,
            fetch_message_max_bytes=2 << 20,
            # A fetch that waits at the end of one partition holds up the questions about the next.
            fetch_wait_max_ms=10,
            # librdkafka wants a group's name even of a reader that uses none.
            group_id=group_id(settings, "referee"),
        )
        self._consumer = Consumer(config)
        self._stopping = threading.Event()

    def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the log's start and end. Raises Unavailable."""
        return watermark_offsets(self._consumer, topic, partition)

    def pieces(self, topic: str, partition: int, start: int, end: int, decoder: Decoder) -> Iterator[PartitionLog]:
        """Yield the log of [``start``, ``end``) of a partition of full topic name ``topic``, in pieces of at most
        CHUNK_RECORDS records.

        ``end`` must not be above the log's end. The pieces follow one another without a gap; none is empty. Offsets
        without a record are passed, and may be left at the end. Raises GaveUpWaiting when the broker delivers nothing,
        or the registry is away, for too long, PenstockError when ``start`` is no longer in the log.
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
        return wait_for(
            "the registry", lambda: decoder.decode(values), timeout_s=self._patience_s, stopping=self._stopping
        )

    def _fetch(self, name: str, position: int, end: int) -> tuple[Chunk, int]:
        """Return the next records below ``end`` (none, if only offsets without one are left) and the
        position behind them."""
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline and not self._stopping.is_set():
            messages = self._consumer.consume(min(CHUNK_RECORDS, end - position), timeout=0.5)
            records, at_end = messages, list[bool]()
            if list(map(Message.error, messages)).count(None) < len(messages):
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

    def stop(self) -> None:
        """Have what is being read in another thread given up, with GaveUpWaiting, within a second."""
        self._stopping.set()

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
