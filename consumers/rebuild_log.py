"""Reading a view's topics from given offsets up to given others: no member of any group, nothing is committed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import compress
from typing import Any

import polars as pl
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumers.batches import Batch, Span, batches
from consumers.reader import Partition, Start
from penstock.errors import ProtectiveStop, Unavailable
from penstock.kafka import made, member_config, partition_counts, translate, watermark_offsets
from penstock.log import get_logger
from penstock.settings import Settings
from penstock.topics import Topic, group_id

_LOST = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class LogReader:
    """Reads ``topics``. :attr:`ends` has, of partitions whose log was read to its end, where that was."""

    def __init__(
        self, settings: Settings, topics: Sequence[Topic], client: Callable[[dict[str, Any]], Consumer] = Consumer
    ) -> None:
        self._settings = settings
        self._topics = {topic.full_name(settings): topic for topic in topics}
        self._read_to: dict[Partition, int] = {}
        self._targets: dict[str, dict[int, int]] = {}
        self.ends: dict[Partition, int] = {}
        config = member_config(
            settings,
            group_id(settings, "consumers-rebuild"),
            enable_partition_eof=True,
            queued_max_messages_kbytes=16_384,
            fetch_message_max_bytes=4 << 20,
        )
        self._consumer = made(client, config)

    def partitions(self) -> list[Partition]:
        """Return all partitions of the topics. Raises Unavailable, or PenstockError when a topic does not exist."""
        counts = partition_counts(self._consumer, self._settings, self._topics.values())
        return [(name, number) for name, topic in self._topics.items() for number in range(counts[topic.name])]

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the start and the end of the log. Raises Unavailable."""
        return watermark_offsets(self._consumer, *partition)

    def start(self, starts: Mapping[Partition, Start], targets: Mapping[Partition, int]) -> None:
        """Read each of ``starts`` from there up to ``targets``, and nothing else."""
        self._read_to = {partition: start.merged for partition, start in starts.items()}
        self._targets = {name: {} for name in self._topics}
        for name, number in starts:
            self._targets[name][number] = targets[name, number]
        self.ends = {}
        places = [TopicPartition(name, number, start.offset) for (name, number), start in starts.items()]
        self._consumer.assign(places)
        self._consumer.resume(places)

    def read(self, records: int, timeout_s: float) -> list[Batch]:
        """Return what came below the targets: up to ``records`` records, one batch a topic."""
        messages = [message for message in self._consumer.consume(records, timeout_s) if not self._told(message)]
        if not messages:
            return []
        found = []
        for batch in batches(messages, self._topics, self._read_to):
            name = batch.topic.full_name(self._settings)
            self._read_to.update({(name, span.partition): span.end for span in batch.spans})
            self._pause(name, batch.spans)
            below = upto(batch, self._targets[name])
            found += [] if below is None else [below]
        return found

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def _pause(self, name: str, spans: Sequence[Span]) -> None:
        done = [TopicPartition(name, s.partition) for s in spans if s.end >= self._targets[name][s.partition]]
        if done:
            self._consumer.pause(done)

    def _told(self, message: Message) -> bool:
        """Return whether it is no record. Raises PenstockError for an error where waiting does not help."""
        error = message.error()
        if error is None:
            return False
        place = str(message.topic()), int(message.partition() or 0)
        if error.code() == KafkaError._PARTITION_EOF:
            self.ends[place] = int(message.offset() or 0)
        elif error.code() in _LOST:
            raise ProtectiveStop(f"topic {place[0]}[{place[1]}]: the log was trimmed while it was read: {error.str()}")
        else:
            cause = translate(KafkaException(error))
            if error.fatal() or not isinstance(cause, Unavailable):
                raise cause
            get_logger("rebuild").warning("the broker reports", why=error.str(), code=error.name())
        return True


def upto(batch: Batch, targets: Mapping[int, int]) -> Batch | None:
    """Return the part of ``batch`` below the ``targets`` of its partitions; None if there is none."""
    spans = tuple(Span(p, begin, min(end, targets[p])) for p, begin, end in batch.spans if begin < targets[p])
    if not spans:
        return None
    limit = batch.places["partition"].replace_strict(list(targets), list(targets.values()), return_dtype=pl.Int64)
    below = batch.places["offset"] < limit
    if below.all():
        return replace(batch, spans=spans)
    return replace(batch, spans=spans, values=list(compress(batch.values, below)), places=batch.places.filter(below))
