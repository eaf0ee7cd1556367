"""Stands in for confluent-kafka's ``Consumer``, with those of its methods that the stages call.

What the real one does in threads of its own, this one does at the pauses of the actor that holds it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from simulation.kafka import Membership, Partition
from simulation.world import Actor, World

_NEVER = -1001
"""confluent-kafka's offset of a partition without a commit."""


def _failed(code: int) -> KafkaException:
    return KafkaException(KafkaError(code))


@dataclass(frozen=True)
class _Described:
    """What ``list_topics`` says of a topic."""

    partitions: Mapping[int, object]
    error: None = None


@dataclass(frozen=True)
class _Metadata:
    topics: Mapping[str, _Described]


@dataclass
class _Reading:
    """Where a consumer reads a partition, and of which topic that was assigned."""

    topic_id: str
    position: int
    told_end: int = -1


@dataclass
class SimConsumer:
    """A group member of the in-memory broker."""

    world: World
    owner: Actor
    config: Mapping[str, Any]
    member: int = 0
    _callbacks: Mapping[str, Callable[..., None]] = field(default_factory=dict)
    _topics: tuple[str, ...] = ()
    _told: tuple[Partition, ...] = ()
    _reading: dict[Partition, _Reading] = field(default_factory=dict)
    _paused: set[Partition] = field(default_factory=set)
    _budget: int = 0

    @property
    def _group(self) -> str:
        return str(self.config["group.id"])

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        """Join the group."""
        self._topics, self._callbacks = tuple(topics), callbacks
        self._join()

    def _join(self) -> None:
        self.member = self.owner.member = self.world.new_member()
        self.world.broker.group(self._group).members[self.member] = Membership(self._topics)
        self.world.broker.rebalance(self._group)

    def close(self) -> None:
        """Leave the group."""
        self.world.broker.leave(self._group, self.member)
        self._callbacks = {}

    def _served(self) -> bool:
        """Serve a rebalance; return if there was one. Revocation and assignment are told at polls of their own."""
        if not self._callbacks:
            return False
        membership = self.world.broker.group(self._group).members.get(self.member)
        told = [TopicPartition(*partition) for partition in self._told]
        if membership is None:
            self._told = ()
            self._join()
            self._callbacks["on_lost"](self, told)
            return True
        if not membership.untold:
            return False
        if self._told:
            self._told = ()
            self._callbacks["on_revoke"](self, told)
            return True
        membership.untold = False
        self._told = membership.target
        self._callbacks["on_assign"](self, [TopicPartition(*partition) for partition in self._told])
        return True

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these, each from its offset."""
        topics = self.world.broker.topics
        self._reading = {(p.topic, p.partition): _Reading(topics[p.topic].topic_id, p.offset) for p in partitions}

    def unassign(self) -> None:
        """Read nothing."""
        self._reading = {}

    def pause(self, partitions: list[TopicPartition]) -> None:
        """Give nothing of these until they are resumed, even if they are assigned anew."""
        self._paused |= {(p.topic, p.partition) for p in partitions}

    def resume(self, partitions: list[TopicPartition]) -> None:
        """Give records of these again."""
        self._paused -= {(p.topic, p.partition) for p in partitions}

    def poll(self, timeout: float) -> Message | None:
        """Return a record, or an error, or nothing."""
        self.world.pause("poll")
        self._budget = self.world.rng.randint(1, self.world.plan.fetched)
        found = self._take(1)
        return found[0] if found else None

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Return what there is, up to ``count``."""
        self.world.pause("consume")
        if timeout:
            self._budget = self.world.rng.randint(1, self.world.plan.fetched)
        return self._take(count)

    def _take(self, count: int) -> list[Message]:
        if self._served() or self.world.broker.away:
            return []
        found: list[Message] = []
        places = list(self._reading)
        self.world.rng.shuffle(places)
        for place in places:
            limit = min(count - len(found), self._budget)
            if limit <= 0:
                break
            new = self._of(place, self._reading[place], limit)
            self._budget -= len(new)
            found += new
        return found

    def _of(self, place: Partition, reading: _Reading, limit: int) -> list[Message]:
        if place in self._paused:
            return []
        topic = self.world.broker.topics[place[0]]
        if topic.topic_id != reading.topic_id:
            return [_error(place, KafkaError.UNKNOWN_TOPIC_OR_PART, reading.position)]
        log = topic.logs[place[1]]
        if not log.start <= reading.position <= log.end:
            return [_error(place, KafkaError._AUTO_OFFSET_RESET, reading.position)]
        records = log.from_offset(reading.position, limit)
        if records:
            reading.position = records[-1].offset + 1
            return [record.message for record in records]
        if self.config.get("enable.partition.eof") and reading.told_end != log.end:
            reading.told_end = log.end
            return [_error(place, KafkaError._PARTITION_EOF, log.end)]
        return []

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """Return the group's commits. The metadata need not end where it should."""
        self.world.pause("committed")
        if self.world.broker.away:
            raise _failed(KafkaError._TRANSPORT)
        commits = self.world.broker.group(self._group).commits
        found = []
        for partition in partitions:
            known = commits.get((partition.topic, partition.partition))
            offset, metadata = (_NEVER, "") if known is None else (known.offset, known.metadata)
            if metadata and self.world.rng.random() < 0.1:
                metadata += "~}{"
            found.append(TopicPartition(partition.topic, partition.partition, offset, metadata))
        return found

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> list[TopicPartition]:
        """Commit. Somebody who was thrown out of the group may succeed; an answer may be lost."""
        world = self.world
        world.pause("before commit", 3)
        gone = self.member not in world.broker.group(self._group).members
        if world.broker.away or world.chance("commit refused", "commit") or (gone and world.rng.random() < 0.5):
            raise _failed(KafkaError.ILLEGAL_GENERATION if gone else KafkaError._TRANSPORT)
        if gone:
            world.counts["commits of zombies taken"] += 1
        for offer in offsets:
            place = offer.topic, offer.partition
            world.broker.commit(self._group, place, offer.offset, offer.metadata or "")
        if world.chance("commit reply lost", "commit"):
            raise _failed(KafkaError.REQUEST_TIMED_OUT)
        world.pause("after commit", 6)
        return [TopicPartition(offer.topic, offer.partition, offer.offset) for offer in offsets]

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = 0, cached: bool = False
    ) -> tuple[int, int]:
        """Return start and end of a partition's log."""
        if not cached:
            self.world.pause("asking for offsets")
        if self.world.broker.away and not cached:
            raise _failed(KafkaError._TRANSPORT)
        if partition.partition >= self.world.broker.count(partition.topic):  # made anew with fewer
            raise _failed(KafkaError.UNKNOWN_TOPIC_OR_PART)
        log = self.world.broker.log((partition.topic, partition.partition))
        return log.start, log.end

    def list_topics(self, topic: str, timeout: float = 0) -> _Metadata:
        """Describe a topic."""
        self.world.pause("list topics")
        if self.world.broker.away:
            raise _failed(KafkaError._TRANSPORT)
        return _Metadata({topic: _Described(dict.fromkeys(range(self.world.broker.count(topic))))})


def _error(place: Partition, code: int, offset: int) -> Message:
    return Message(topic=place[0], partition=place[1], offset=offset, error=KafkaError(code), timestamp=(0, -1))
