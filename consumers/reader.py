"""Reading the topics of the views: a group member whose positions come from the database, never from the group.

A rebalance only notes what is assigned now (:attr:`Reader.moved`); reading goes on when :meth:`Reader.start` has been
told where. So no callback touches the database, and what a rebalance left over from before is never used.

Every method is called from one thread: a confluent-kafka consumer is not to be shared.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from consumers.batches import Batch, batches
from penstock.errors import Unavailable
from penstock.health import Health
from penstock.kafka import made, member_config, partition_counts, translate, watermark_offsets
from penstock.log import get_logger
from penstock.refusals import ErrorEvents
from penstock.settings import Settings
from penstock.topics import Topic

CLOSE_TIMEOUT_S = 5.0

Partition = tuple[str, int]
"""Full topic name and partition."""

_LOOK_AGAIN = {
    KafkaError._AUTO_OFFSET_RESET,
    KafkaError.OFFSET_OUT_OF_RANGE,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.UNKNOWN_TOPIC_ID,
    KafkaError._MAX_POLL_EXCEEDED,
}
"""Errors after which positions are looked up and checked anew, which says what was lost."""


class Start(NamedTuple):
    """Where to read a partition: ``offset`` is the first to ask for; ``merged`` is where the chain of batches begins,
    less than ``offset`` only where the log has nothing between the two."""

    merged: int
    offset: int


class Reader:
    """A member of the consumer group ``group`` that reads ``topics``."""

    def __init__(  # noqa: PLR0913  # its parts
        self,
        settings: Settings,
        topics: Sequence[Topic],
        group: str,
        health: Health,
        client: Callable[[dict[str, Any]], Consumer] = Consumer,
        *,
        with_headers: bool = False,
    ) -> None:
        self._settings = settings
        self._with_headers = with_headers
        self._topics = {topic.full_name(settings): topic for topic in topics}
        self._health = health
        self._read_to: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}
        self._broker_away = False
        self._closed = False
        self.assigned: frozenset[Partition] = frozenset()
        self.moved = False
        """True when positions must be given with :meth:`start` before anything is read."""
        self._consumer = made(
            client,
            member_config(
                settings,
                group,
                queued_max_messages_kbytes=16_384,
                fetch_message_max_bytes=4 << 20,
                topic_metadata_refresh_interval_ms=5_000,
                error_cb=ErrorEvents(self._on_away),
            ),
        )

    def subscribe(self) -> None:
        """Join the group. Raises Unavailable, or PenstockError when a topic does not exist."""
        partition_counts(self._consumer, self._settings, self._topics.values())
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def start(self, starts: Mapping[Partition, Start]) -> None:
        """Read each of ``starts`` from there, and nothing else. What was read ahead is dropped."""
        self._consumer.assign(
            [TopicPartition(name, partition, start.offset) for (name, partition), start in starts.items()]
        )
        # What hold() has paused stays so, even when it is assigned anew.
        self._consumer.resume([TopicPartition(*partition) for partition in starts])
        self._read_to = {partition: start.merged for partition, start in starts.items()}
        self.moved = False

    def read(self, records: int, timeout_s: float) -> list[Batch]:
        """Return what came: up to ``records`` records, one batch a topic. Nothing while :attr:`moved`."""
        messages = self._consume(records, timeout_s)
        if self.moved or not messages:
            return []
        found = batches(messages, self._topics, self._read_to, with_headers=self._with_headers)
        for batch in found:
            name = batch.topic.full_name(self._settings)
            self._read_to.update({(name, span.partition): span.end for span in batch.spans})
        return found

    def hold(self) -> None:
        """Answer the broker while nothing can be merged; keeps the membership. Positions must be given again after."""
        self.moved = True
        if self.assigned:
            with suppress(KafkaException):
                self._consumer.pause([TopicPartition(*partition) for partition in self.assigned])
        self._consume(1, 0.0)

    def bounds(self, partition: Partition) -> tuple[int, int]:
        """Return the start and the end of the log, asked of the broker. Raises Unavailable."""
        low, high = watermark_offsets(self._consumer, *partition)
        self._ends[partition] = high
        return low, high

    def known_end(self, partition: Partition) -> int | None:
        """Return the end of the log as the last fetch knew it, or else :meth:`bounds`, without asking."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        except KafkaException:
            high = -1
        return high if high >= 0 else self._ends.get(partition)

    def commit(self, positions: Mapping[Partition, int]) -> None:
        """Tell the group how far the views are: for lag tools only, so it is not waited for."""
        offers = _offers(positions)
        if offers:
            with suppress(KafkaException):
                self._consumer.commit(offsets=offers, asynchronous=True)

    def check_broker(self) -> None:
        """If the broker was away, ask if it is back."""
        if not self._broker_away:
            return
        with suppress(KafkaException):
            self._consumer.list_topics(next(iter(self._topics)), timeout=0.5)
            self._broker_away = False
            self._health.here("broker")

    def close(self, positions: Mapping[Partition, int] | None = None) -> None:
        """Tell the group how far the views are, and leave it. For a broker that is away nobody waits for long: it sees
        by itself that we are gone, and what was told is for lag tools only."""
        if self._closed:
            return
        self._closed = True
        leaving = threading.Thread(target=self._leave, args=(_offers(positions or {}),), name="leaving", daemon=True)
        leaving.start()
        leaving.join(CLOSE_TIMEOUT_S)

    def _leave(self, offers: list[TopicPartition]) -> None:
        if offers:
            with suppress(KafkaException):
                self._consumer.commit(offsets=offers, asynchronous=False)
        self._consumer.close()

    def _consume(self, records: int, timeout_s: float) -> list[Message]:
        messages: list[Message] = self._consumer.consume(records, timeout_s)
        errors = [error for error in map(Message.error, messages) if error is not None]
        if not errors:
            return messages
        for error in errors:
            self._judge(error)
        return [message for message in messages if message.error() is None]

    def _judge(self, error: KafkaError) -> None:
        """Decide what an error in the stream means. Raises PenstockError where waiting does not help."""
        if error.code() in _LOOK_AGAIN:
            self.moved = True
            return
        if error.code() == KafkaError._PARTITION_EOF:
            return
        cause = translate(error)
        if error.fatal() or not isinstance(cause, Unavailable):
            raise cause
        get_logger("consumers").warning("the broker reports", why=error.str(), code=error.name())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Nothing is read before start() says where; the group is content with an empty assignment.
        consumer.assign([])
        self.assigned = frozenset((partition.topic, partition.partition) for partition in partitions)
        self.moved = True

    def _on_revoke(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        consumer.unassign()
        self.assigned = frozenset()
        self.moved = True

    def _on_away(self, why: str) -> None:
        self._broker_away = True
        self._health.away("broker", why)


def _offers(positions: Mapping[Partition, int]) -> list[TopicPartition]:
    return [TopicPartition(*partition, offset) for partition, offset in positions.items()]
