"""The embedded broker: librdkafka's mock cluster, real protocol on a loopback socket, kept by this process."""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Producer

from penstock.errors import PenstockError
from penstock.kafka import partition_counts, watermark_offsets
from penstock.settings import Settings, load_settings
from penstock.topics import TOPICS
from penstock.waiting import wait_for

_START_TIMEOUT_S = 10


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run a broker while the block runs; yield its bootstrap servers."""
    keeper = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 2})
    brokers = keeper.list_topics(timeout=_START_TIMEOUT_S).brokers.values()
    if not brokers:
        raise PenstockError("the embedded broker did not start")
    yield ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    del keeper


def create_topics(bootstrap: str) -> None:
    """Make all topics: the embedded broker makes one when it is first asked for."""
    settings = _settings(bootstrap)
    client = Producer({"bootstrap.servers": bootstrap, "log_level": 2})
    wait_for("topics", lambda: partition_counts(client, settings, TOPICS), timeout_s=_START_TIMEOUT_S)


def trimmed_partitions(bootstrap: str) -> list[str]:
    """Return the partitions whose log no longer begins at 0."""
    settings = _settings(bootstrap)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "demo", "log_level": 2})
    try:
        return [
            f"{name}[{partition}] from {start}"
            for topic in TOPICS
            for name in [topic.full_name(settings)]
            for partition in range(topic.partitions)
            if (start := watermark_offsets(consumer, name, partition)[0]) > 0
        ]
    finally:
        consumer.close()


def _settings(bootstrap: str) -> Settings:
    return load_settings(
        kafka_bootstrap_servers=bootstrap, embedded=True, topic_prefix="", pipeline_version=1
    )
