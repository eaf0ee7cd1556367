"""An in-memory Kafka: partitions with gaps and a start that moves, group commits with metadata, rebalances.

It is kinder to nobody than the real one: a group's members learn of a rebalance at different times, and a commit of
somebody who was thrown out may be taken.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from confluent_kafka import Message

from penstock.errors import PenstockError, Unavailable
from penstock.settings import Settings
from penstock.topics import Topic
from simulation.events import Operation

Partition = tuple[str, int]


@dataclass(frozen=True)
class Record:
    """What stands at an offset; ``message`` is what a consumer gets."""

    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None
    message: Message


@dataclass
class Log:
    """A partition: ascending records, some offsets without one. ``end`` is the next offset."""

    records: list[Record] = field(default_factory=list)
    start: int = 0
    end: int = 0

    def from_offset(self, offset: int, limit: int) -> list[Record]:
        """Return up to ``limit`` records at or behind ``offset`` that are not deleted."""
        low = max(offset, self.start)
        # Offsets ascend and gaps are few: the record of an offset is never behind its index.
        index = min(low, len(self.records))
        while index > 0 and self.records[index - 1].offset >= low:
            index -= 1
        return self.records[index : index + limit]


@dataclass
class StoredTopic:
    """A topic as it is now: made again, it has another id."""

    name: str
    topic_id: str
    logs: list[Log]
    told: dict[tuple[int, int], Operation] = field(default_factory=dict)
    """What the records of a source topic say, by partition and offset."""


@dataclass(frozen=True)
class Committed:
    """A commit that was taken."""

    topic_id: str
    partition: Partition
    offset: int
    metadata: str


@dataclass
class Membership:
    """What the group wants of one member: it is told when it polls."""

    topics: tuple[str, ...]
    target: tuple[Partition, ...] = ()
    untold: bool = False


class Group:
    """A consumer group: its members by number, and the last commit of each partition."""

    def __init__(self) -> None:
        self.members: dict[int, Membership] = {}
        self.commits: dict[Partition, Committed] = {}
        self.rebalances = 0


class Broker:
    """All topics and groups. ``clock_ms`` is the append time of what comes next."""

    def __init__(self, clock_ms: int) -> None:
        self.clock_ms = clock_ms
        self.topics: dict[str, StoredTopic] = {}
        self.groups: dict[str, Group] = {}
        self.accepted: list[tuple[str, Committed]] = []
        self.away = False
        self._made = 0

    def create(self, name: str, partitions: int) -> StoredTopic:
        """Make a topic, anew if it is there: then its records are gone, and the commits of its partitions."""
        self._made += 1
        made = self.topics[name] = StoredTopic(name, f"id-{self._made}", [Log() for _ in range(partitions)])
        for group in self.groups.values():
            for partition in [p for p in group.commits if p[0] == name]:
                del group.commits[partition]
        return made

    def log(self, partition: Partition) -> Log:
        """Return a partition's log."""
        return self.topics[partition[0]].logs[partition[1]]

    def values(self, name: str) -> list[bytes | None]:
        """Return all values of a topic."""
        return [record.value for log in self.topics[name].logs for record in log.records]

    def append(self, partition: Partition, key: bytes | None, value: bytes | None, gap: int = 0) -> int:
        """Append a record behind ``gap`` offsets without one; return its offset."""
        log = self.log(partition)
        offset = log.end + gap
        message = Message(
            topic=partition[0], partition=partition[1], offset=offset, key=key, value=value,
            headers=None, error=None, timestamp=(2, self.clock_ms),
        )  # fmt: skip
        log.records.append(Record(offset, self.clock_ms, key, value, message))
        log.end = offset + 1
        return offset

    def partition_of(self, topic: str, key: bytes) -> Partition:
        """Return where a keyed record goes."""
        return topic, zlib.crc32(key) % len(self.topics[topic].logs)

    def topic_ids(self, settings: Settings, topics: Iterable[Topic]) -> dict[str, str]:
        """Stand in for :func:`penstock.kafka.topic_ids`."""
        if self.away:
            raise Unavailable("the broker is away")
        names = {topic.name: topic.full_name(settings) for topic in topics}
        missing = [full for full in names.values() if full not in self.topics]
        if missing:
            raise PenstockError(f"topic {missing[0]} does not exist: run `penstock topics create`")
        return {name: self.topics[full].topic_id for name, full in names.items()}

    def group(self, name: str) -> Group:
        """Return a group; it is made by asking."""
        return self.groups.setdefault(name, Group())

    def grow(self, name: str) -> None:
        """Add a partition to a topic."""
        self.topics[name].logs.append(Log())

    def rebalance(self, name: str) -> None:
        """Share all partitions anew among the members of a group; each is told when it polls next."""
        group = self.group(name)
        group.rebalances += 1
        members = sorted(group.members)
        for number in members:
            group.members[number].target, group.members[number].untold = (), True
        topics = sorted({topic for member in group.members.values() for topic in member.topics})
        partitions = [(topic, p) for topic in topics if topic in self.topics for p in range(self.count(topic))]
        for index, partition in enumerate(partitions):
            member = group.members[members[(index + group.rebalances) % len(members)]]
            member.target = (*member.target, partition)

    def count(self, topic: str) -> int:
        """Return how many partitions a topic has."""
        return len(self.topics[topic].logs)

    def leave(self, name: str, member: int) -> bool:
        """Take a member out of its group: it left, or was not heard of for too long. Return if it was in it."""
        group = self.group(name)
        if group.members.pop(member, None) is None:
            return False
        if group.members:
            self.rebalance(name)
        return True

    def commit(self, name: str, partition: Partition, offset: int, metadata: str) -> None:
        """Take a commit."""
        taken = Committed(self.topics[partition[0]].topic_id, partition, offset, metadata)
        self.group(name).commits[partition] = taken
        self.accepted.append((name, taken))
