"""A cluster of real Kafka nodes in KRaft mode, each broker and controller, one of which may die at a time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from testbed.kafka import KafkaBroker
from testbed.processes import LOOPBACK, is_listening, wait_until

NODES = 3
COPIES = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}


class KafkaNode(KafkaBroker):
    """One node of a :class:`KafkaCluster`; it is ready when it serves, whoever leads."""

    voters: str = ""

    def _properties(self) -> dict[str, str]:
        return super()._properties() | {"controller.quorum.voters": self.voters}

    def _ready(self) -> bool:
        if not is_listening(self.port):
            return False
        try:
            seen = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0}).list_topics(timeout=1.0)
        except KafkaException:
            return False
        return self.node_id in seen.brokers


class KafkaCluster:
    """Three nodes on 127.0.0.1 with small heaps: every topic of theirs has three copies, and a write needs two.

    Kill and start again one of ``nodes`` at a time, and wait for :meth:`await_in_sync` before the next.
    """

    def __init__(self, *, heap_mb: int = 256, jvm_options: Sequence[str] = ()) -> None:
        self.nodes = [
            KafkaNode(heap_mb=heap_mb, jvm_options=jvm_options, settings=COPIES, node_id=number)
            for number in range(1, NODES + 1)
        ]
        voters = ",".join(f"{node.node_id}@{LOOPBACK}:{node.controller_port}" for node in self.nodes)
        for node in self.nodes:
            node.voters = voters
            node.cluster_id = self.nodes[0].cluster_id

    @property
    def bootstrap_servers(self) -> str:
        """What a client connects to: all three, separated by commas."""
        return ",".join(node.bootstrap_servers for node in self.nodes)

    def start(self) -> Self:
        """Start all that do not run, together: one alone is never ready. Raises as :meth:`Part.start`."""
        with ThreadPoolExecutor(NODES) as pool:
            for started in [pool.submit(node.start) for node in self.nodes]:
                started.result()
        return self

    def in_sync(self) -> bool:
        """Whether all nodes are there and all copies of all partitions are up to date."""
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, "log_level": 0})
        try:
            seen = admin.list_topics(timeout=2.0)
        except KafkaException:
            return False
        partitions = [part for topic in seen.topics.values() for part in topic.partitions.values()]
        return len(seen.brokers) == NODES and all(len(part.isrs) == len(part.replicas) for part in partitions)

    def await_in_sync(self, timeout: float = 60.0) -> None:
        """Wait until the next node may die. TimeoutError."""
        wait_until(self.in_sync, timeout, "all copies are in sync", log=self.nodes[0].log_path, every=0.3)

    def close(self) -> None:
        """Stop all at once and remove their folders."""
        for node in self.nodes:
            node.kill()  # in order, the last two would wait for a quorum that is gone
        for node in self.nodes:
            node.close()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
