"""Reading source topics in batches: one confluent-kafka consumer, positioned by frontiers.

Used from one thread only. A rebalance is noticed inside :meth:`LogConsumer.fetch`, which then returns nothing; the
caller tells Faust, and calls :meth:`LogConsumer.take_assignment`, the only place where positions are set.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from penstock.errors import PenstockError, ProtectiveStop, Unavailable
from penstock.health import Health
from penstock.kafka import member_config, topic_ids, translate, watermark_offsets
from penstock.log import get_logger
from penstock.refusals import ErrorEvents
from penstock.settings import Settings
from penstock.topics import SOURCES, Topic, group_id
from penstock.waiting import wait_for
from processors.restore import Found, Restored, restore
from processors.stall import StallWatch
from processors.stretch import AT_ONCE, FetchedMessage, Stretch, any_error, by_partition
from processors.together import Together

Partition = tuple[str, int]

_LOST = {
    KafkaError._AUTO_OFFSET_RESET: "an offset that is needed is no longer in the log",
    KafkaError.OFFSET_OUT_OF_RANGE: "an offset that is needed is no longer in the log",
}
_GONE = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION}
_REQUEST_TIMEOUT_S = 10.0

TOGETHER_AT_MOST = 5_000
"""Records of one fetch that are decoded at once: more of them gain nothing."""


@dataclass
class Batch:
    """Consecutive records of one partition.

    ``follows`` is the offset behind the batch before (at first, the offset read from): a broken chain is a loss.
    ``log_end`` is the end of the log when they were fetched, ``together`` what is decoded with them, if anything.
    """

    topic: str
    partition: int
    generation: int
    records: Stretch
    follows: int
    log_end: int
    together: Together | None = None

    @property
    def first_offset(self) -> int:
        """Offset of the first record."""
        return self.records.offsets[0]


class LogConsumer:
    """Membership in the group of the processors, and the batches of what it is assigned.

    ``ids`` are the topic ids that the process began with; ``client``, ``current_ids`` and ``clock`` are what it meets
    the world by.
    """

    def __init__(  # noqa: PLR0913  # its parts
        self,
        settings: Settings,
        ids: Mapping[str, str],
        health: Health,
        client: Callable[[dict[str, Any]], Any] = Consumer,
        current_ids: Callable[[Settings, Iterable[Topic]], Mapping[str, str]] = topic_ids,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._current_ids = current_ids
        self._health = health
        self._ids = dict(ids)
        self._names = {topic.full_name(settings): topic.name for topic in SOURCES}
        self.generation = 0
        self._next: list[Partition] = []
        self._handed_out: dict[Partition, int] = {}
        self._ends_reached: dict[Partition, int] = {}
        self._log_ends: dict[Partition, int] = {}
        self._stall = StallWatch(clock)
        self.rebalanced = False
        self.owned: tuple[Partition, ...] = ()
        self.restored: dict[Partition, Restored] = {}
        self._consumer = client(
            member_config(
                settings,
                group_id(settings, "processors"),
                enable_partition_eof=True,
                fetch_message_max_bytes=2 << 20,
                fetch_wait_max_ms=50,
                error_cb=ErrorEvents(lambda why: health.away("kafka", why)),
            )
        )

    def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group."""
        self._consumer.subscribe(
            list(topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._next = [(tp.topic, tp.partition) for tp in partitions]
        self.rebalanced = True
        consumer.assign([])

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._next = []
        self.rebalanced = True
        consumer.unassign()

    def fetch(self, idle_s: float) -> list[Batch]:
        """Return what is there, waiting up to ``idle_s`` for the first record; nothing when the assignment changed.

        Raises :class:`ProtectiveStop` when input is lost.
        """
        first = self._consumer.poll(idle_s)
        if self.rebalanced:
            return []
        if first is None:
            self._stall.look(self._not_fetched)
            return []
        batches: dict[Partition, Batch] = {}
        messages, left = [first], self._settings.fetch_batch_records
        while messages:
            self._take(messages, batches)
            left -= len(messages)
            messages = self._consumer.consume(min(left, AT_ONCE), 0) if left else []
            if self.rebalanced:
                return []
        if batches:
            self._stall.moved()
            self._health.here("kafka")
        self._decode_together(batches)
        return list(batches.values())

    @staticmethod
    def _decode_together(batches: Mapping[Partition, Batch]) -> None:
        """Join small batches of one topic."""
        for topic in {topic for topic, _ in batches}:
            own = {tp: batch for tp, batch in batches.items() if tp[0] == topic}
            if len(own) > 1 and sum(len(batch.records) for batch in own.values()) <= TOGETHER_AT_MOST:
                together = Together({tp: batch.records.values for tp, batch in own.items()})
                for batch in own.values():
                    batch.together = together

    def _take(self, messages: list[FetchedMessage], batches: dict[Partition, Batch]) -> None:
        """Add what was fetched to the batches of their partitions."""
        if any_error(messages):
            messages = [message for message in messages if self._is_record(message)]
            if not messages:
                return
        for tp, records in by_partition(messages).items():
            if tp in batches:
                batches[tp].records.extend(records)
            else:
                batches[tp] = Batch(*tp, self.generation, records, self._handed_out[tp], self._end_of(tp))
            self._handed_out[tp] = records.offsets[-1] + 1

    def _is_record(self, message: FetchedMessage) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._ends_reached[message.topic(), message.partition()] = message.offset()
            return False
        if error.code() in _LOST:
            self._check_topics_if_possible()
            raise ProtectiveStop(f"{message.topic()}[{message.partition()}]: {_LOST[error.code()]}: {error.str()}")
        if error.code() in _GONE:
            self._check_topics_if_possible()
        if error.code() == KafkaError._MAX_POLL_EXCEEDED:
            raise PenstockError("the group lost us: no batch was taken for five minutes; start again")
        why = translate(error)
        if not isinstance(why, Unavailable):  # a right that we lack
            raise why
        self._health.away("kafka", error.str())
        get_logger("processors").warning("fetch failed", code=error.name(), detail=error.str())
        return False

    def _check_topics_if_possible(self) -> None:
        try:
            self._check_topics()
        except Unavailable:
            return

    def _check_topics(self) -> None:
        """Raise :class:`ProtectiveStop` when a source topic was recreated since this process began."""
        current = self._current_ids(self._settings, SOURCES)
        if current != self._ids:
            raise ProtectiveStop(
                f"a source topic was recreated: ids were {self._ids}, are {current}; "
                "start a new PENSTOCK_PIPELINE_VERSION"
            )

    def _not_fetched(self) -> set[Partition]:
        """Return the partitions whose log has more than what came; ask the broker."""
        behind = set()
        try:
            for tp in self.owned:
                _, end = watermark_offsets(self._consumer, *tp)
                if end > max(self._handed_out[tp], self._ends_reached.get(tp, 0)):
                    behind.add(tp)
        except Unavailable as error:
            self._health.away("kafka", str(error))
            return set()
        self._health.here("kafka")
        return behind

    def _end_of(self, tp: Partition) -> int:
        _, end = self._consumer.get_watermark_offsets(TopicPartition(*tp), cached=True)
        self._log_ends[tp] = max(int(end), 0)
        return self._log_ends[tp]

    def log_end(self, topic: str, partition: int) -> int:
        """Return the end of a partition's log, as last fetched."""
        return self._log_ends.get((topic, partition), 0)

    def take_assignment(self) -> int:
        """Begin a new generation: read the frontiers of what was assigned and go on from each ``R``; return its number.

        Waits for as long as the broker does not answer. Raises :class:`ProtectiveStop` as :func:`restore` does.
        """
        self.rebalanced = False
        self.generation += 1
        partitions = tuple(self._next)
        self.restored = wait_for("kafka", lambda: self._restore(partitions), health=self._health) if partitions else {}
        self.owned = partitions
        self._ends_reached = {}
        self._stall.moved()
        self._handed_out = {tp: found.read_from for tp, found in self.restored.items()}
        self._consumer.assign([TopicPartition(*tp, r.read_from) for tp, r in self.restored.items()])
        if partitions:
            # Made anew behind the first look, a topic would be read under its old id.
            wait_for("kafka", self._check_topics, health=self._health)
        return self.generation

    def _restore(self, partitions: tuple[Partition, ...]) -> dict[Partition, Restored]:
        self._check_topics()
        try:
            committed = self._consumer.committed([TopicPartition(*tp) for tp in partitions], _REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error) from None
        return {(tp.topic, tp.partition): self._restore_one(tp) for tp in committed}

    def _restore_one(self, committed: TopicPartition) -> Restored:
        if committed.error is not None:
            raise translate(committed.error)
        start, end = watermark_offsets(self._consumer, committed.topic, committed.partition)
        known = None if committed.offset < 0 else (committed.offset, committed.metadata or "")
        name = f"{committed.topic}[{committed.partition}]"
        found = Found(name, self._ids[self._names[committed.topic]], known, max(start, 0), max(end, 0))
        self._log_ends[committed.topic, committed.partition] = found.log_end
        return restore(found, accept_trimmed_log=self._settings.accept_trimmed_log)

    def commit(self, points: Mapping[Partition, tuple[int, str]]) -> bool:
        """Commit ``(R, metadata)`` by partition; False when the broker did not take it (a later commit will do)."""
        offsets = [TopicPartition(*tp, offset, metadata) for tp, (offset, metadata) in points.items()]
        try:
            results = self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            get_logger("processors").warning("commit refused", detail=str(error.args[0]))
            return False
        self._health.here("kafka")
        return all(result.error is None for result in results)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()
