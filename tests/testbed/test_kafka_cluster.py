"""Three real brokers: what was acknowledged outlives any one of them, and writing goes on."""

from __future__ import annotations

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from testbed.availability import required_parts
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.kafka_cluster import KafkaCluster

pytestmark = [pytest.mark.real, pytest.mark.slow]

TOPIC = "orders"


def send(producer: Producer, word: bytes) -> None:
    producer.produce(TOPIC, word, partition=0)
    assert producer.flush(60) == 0


def test_writing_goes_on_while_one_of_three_brokers_is_dead_whichever_it_is() -> None:
    reason = KafkaBroker.missing()
    if reason is not None and "kafka" not in required_parts():
        pytest.skip(reason)
    with KafkaCluster(jvm_options=QUICK_START) as cluster:
        admin = AdminClient({"bootstrap.servers": cluster.bootstrap_servers})
        admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=3)])[TOPIC].result(timeout=30)
        producer = Producer({"bootstrap.servers": cluster.bootstrap_servers, "acks": "all", "enable.idempotence": True})
        for node in cluster.nodes:
            cluster.await_in_sync()
            node.kill()
            send(producer, f"without {node.node_id}".encode())
            node.start()
        cluster.await_in_sync()
        consumer = Consumer({"bootstrap.servers": cluster.bootstrap_servers, "group.id": "reader"})
        consumer.assign([TopicPartition(TOPIC, 0, 0)])
        found = [message.value() for message in consumer.consume(3, timeout=30)]
        consumer.close()
    assert found == [b"without 1", b"without 2", b"without 3"]
