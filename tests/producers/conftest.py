"""A broker in this process, and what tests of the producers read back from one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from penstock.settings import Settings, load_settings


class Broker:
    """A broker to produce to and to read back from."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers

    def settings(self, prefix: str = "") -> Settings:
        """Settings of a program that runs on it."""
        return load_settings(
            kafka_bootstrap_servers=self.bootstrap_servers, embedded=True, topic_prefix=prefix, http_port=0
        )

    def read(self, topic: str) -> dict[int, list[Message]]:
        """Read a topic whole, by partition, in offset order."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "group.id": "reader",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        partitions = list(consumer.list_topics(topic, timeout=10).topics[topic].partitions)
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        found: dict[int, list[Message]] = {partition: [] for partition in partitions}
        open_partitions, deadline = set(partitions), time.monotonic() + 30
        while open_partitions:
            assert time.monotonic() < deadline, f"topic {topic} was not read to its end in 30 s"
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error() is None:
                found[message.partition()].append(message)
            elif message.error().code() == KafkaError._PARTITION_EOF:
                open_partitions.discard(message.partition())
        consumer.close()
        return found


class Embedded(Broker):
    """librdkafka's mock cluster; it lives as long as the client that made it."""

    def __init__(self) -> None:
        self._owner: Any = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 0})
        brokers = self._owner.list_topics(timeout=10).brokers.values()
        super().__init__(",".join(f"{broker.host}:{broker.port}" for broker in brokers))

    def stop(self) -> None:
        """Close it: its port refuses connections from then on."""
        if self._owner is not None:
            self._owner.close()
            self._owner = None


@pytest.fixture
def real_broker(bootstrap_servers: str) -> Broker:
    return Broker(bootstrap_servers)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """A broker for all tests of the producers: give each test a topic prefix of its own."""
    broker = Embedded()
    yield broker
    broker.stop()


@pytest.fixture
def new_embedded() -> Iterator[Callable[[], Embedded]]:
    """Makes brokers that a test may stop."""
    made: list[Embedded] = []

    def make() -> Embedded:
        made.append(Embedded())
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


class Judge:
    """The fates of records, decided as the design says, record by record, by code that shares nothing with ours."""

    PANE, DISORDER, AHEAD = 60_000, 10_000, 300_000

    def __init__(self) -> None:
        self._newest: dict[int, int] = {}
        self._seen: set[tuple[int, str, int]] = set()

    def fate(self, partition: int, record: tuple[str, dict[str, Any]] | None, appended_at: int) -> str:
        """Return the fate of the next record of a partition: (name, fields), or None if it can't be decoded."""
        if record is None or record[1]["occurred_at"] > appended_at + self.AHEAD:
            return "dead"
        name, fields = record
        at, newest = fields["occurred_at"], self._newest.get(partition)
        self._newest[partition] = at if newest is None else max(at, newest)
        if name == "Heartbeat":
            return "control"
        pane = at - at % self.PANE
        if newest is not None and pane + self.PANE <= newest - self.DISORDER:
            return "late"
        key = (partition, fields["event_id"], pane)
        if key in self._seen:
            return "duplicate"
        self._seen.add(key)
        return "applied"

    def final_until(self, partition: int) -> int:
        """Return the time up to which the panes of a partition are final."""
        return (self._newest[partition] - self.DISORDER) // self.PANE * self.PANE


@pytest.fixture(scope="session")
def new_judge() -> Callable[[], Judge]:
    return Judge
