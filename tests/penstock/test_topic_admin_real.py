"""Topics on a real Kafka: made once, compared for ever after, never changed."""

import time
import uuid

import pytest
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, ResourceType

from penstock.errors import PenstockError, Unavailable
from penstock.kafka import admin, topic_ids
from penstock.settings import Settings, load_settings
from penstock.topic_admin import Difference, TopicState, create_topics, differences, topic_states
from penstock.topics import BY_NAME, TOPICS
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.processes import free_port


@pytest.fixture
def settings(kafka: KafkaBroker | ExternalKafka) -> Settings:
    """Settings with a prefix that no other test has."""
    prefix = f"t{uuid.uuid4().hex[:10]}-"
    return load_settings(kafka_bootstrap_servers=kafka.bootstrap_servers, topic_prefix=prefix, embedded=False)


def found(states: list[TopicState]) -> list[Difference]:
    return [difference for state in states for difference in state.differences]


def test_topics_are_created_once_as_declared(settings: Settings) -> None:
    assert all(state.missing for state in topic_states(settings))
    first = create_topics(settings)
    assert [state.topic for state in first] == list(TOPICS)
    assert all(state.created and not state.missing and not state.differences for state in first)
    known = topic_ids(settings, TOPICS)
    again = create_topics(settings)
    assert not any(state.created or state.differences for state in again)
    assert topic_ids(settings, TOPICS) == known


def test_a_missing_topic_is_added_beside_the_ones_that_exist(settings: Settings) -> None:
    create_topics(settings)
    next_version = settings.model_copy(update={"pipeline_version": 2})
    created = {state.name for state in create_topics(next_version) if state.created}
    assert created == {topic.full_name(next_version) for topic in TOPICS if topic.role != "source"}


def test_a_difference_is_reported_and_not_changed(settings: Settings) -> None:
    create_topics(settings)
    client = admin(settings)
    orders, telemetry = BY_NAME["orders"].full_name(settings), BY_NAME["telemetry"].full_name(settings)
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, telemetry, incremental_configs=[entry])
    client.incremental_alter_configs([resource])[resource].result(10)
    client.create_partitions([NewPartitions(orders, 6)])[orders].result(10)
    expected = [
        Difference(orders, "partitions", "4", "6"),
        Difference(telemetry, "retention.ms", str(BY_NAME["telemetry"].retention_ms), "1000"),
    ]
    deadline = time.monotonic() + 20
    while found(topic_states(settings)) != expected:  # a broker tells of a change a moment later
        assert time.monotonic() < deadline
    assert found(create_topics(settings)) == expected
    assert found(topic_states(settings)) == expected


def test_more_copies_than_brokers_are_refused_in_one_line(settings: Settings) -> None:
    with pytest.raises(PenstockError, match="the broker refuses the topic") as raised:
        create_topics(settings, replication=20)
    assert not isinstance(raised.value, Unavailable)
    assert "\n" not in str(raised.value)


def test_a_broker_that_is_down_is_away() -> None:
    down = load_settings(kafka_bootstrap_servers=f"127.0.0.1:{free_port()}", embedded=False)
    with pytest.raises(Unavailable):
        topic_states(down)


def test_every_declared_property_is_compared() -> None:
    orders = BY_NAME["orders"]
    assert differences(orders, "o", 4, orders.config()) == []
    wrong = {"cleanup.policy": "compact", "retention.ms": "5", "message.timestamp.type": "CreateTime"}
    assert [difference.key for difference in differences(orders, "o", 3, wrong)] == ["partitions", *wrong]
    assert differences(orders, "o", 4, {})[0] == Difference("o", "cleanup.policy", "delete", "unknown")
