"""What a group member checks when partitions are assigned to it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import TopicPartition

from penstock.errors import ProtectiveStop
from penstock.health import Health
from penstock.settings import Settings, load_settings
from penstock.topics import SOURCES, Topic
from processors.consumer import LogConsumer

NEVER_COMMITTED = -1001


@dataclass
class Client:
    """A Kafka consumer of an empty topic that nobody has committed."""

    on_assign: Callable[..., None] = lambda *_: None
    assigned: list[list[tuple[str, int, int]]] = field(default_factory=list)

    def subscribe(self, _topics: list[str], on_assign: Callable[..., None], **_others: Callable[..., None]) -> None:
        self.on_assign = on_assign

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned.append([(tp.topic, tp.partition, tp.offset) for tp in partitions])

    def committed(self, partitions: list[TopicPartition], _timeout: float) -> list[TopicPartition]:
        return [TopicPartition(tp.topic, tp.partition, NEVER_COMMITTED) for tp in partitions]

    def get_watermark_offsets(self, _partition: TopicPartition, **_options: Any) -> tuple[int, int]:
        return 0, 0


@dataclass
class Ids:
    """Topic ids that change after so many looks."""

    looks_until_recreated: int
    looks: int = 0

    def __call__(self, _settings: Settings, topics: Iterable[Topic]) -> Mapping[str, str]:
        self.looks += 1
        made = "second" if self.looks > self.looks_until_recreated else "first"
        return {topic.name: f"{topic.name}-{made}" for topic in topics}


def member(ids: Ids) -> tuple[LogConsumer, Client]:
    """Return a member to which one partition is being assigned."""
    settings, client = load_settings(embedded=True), Client()
    began_with = {topic.name: f"{topic.name}-first" for topic in SOURCES}
    consumer = LogConsumer(settings, began_with, Health(), client=lambda _config: client, current_ids=ids)
    consumer.subscribe(["orders"])
    client.on_assign(client, [TopicPartition("orders", 0)])
    return consumer, client


def test_an_assignment_is_read_from_its_start_when_nothing_was_committed() -> None:
    consumer, client = member(Ids(looks_until_recreated=9))
    assert consumer.take_assignment() == 1
    assert client.assigned[-1] == [("orders", 0, 0)]


@pytest.mark.parametrize("looks_until_recreated", [0, 1])
def test_a_topic_that_is_recreated_before_or_while_it_is_assigned_stops(looks_until_recreated: int) -> None:
    """Behind the first look it would be read under its old id; found by the simulation (seed 760)."""
    consumer, _ = member(Ids(looks_until_recreated))
    with pytest.raises(ProtectiveStop, match="recreated"):
        consumer.take_assignment()
