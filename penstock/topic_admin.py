"""Creating the declared topics on a real broker, and comparing what is there with the declaration."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from penstock.errors import PenstockError, Unavailable
from penstock.kafka import REQUEST_TIMEOUT_S, admin, explain, translate
from penstock.settings import Settings
from penstock.topics import TOPICS, Topic

SAFE_REPLICATION = 3
SAFE_IN_SYNC = "2"
METADATA_TIMEOUT_S = 3.0
_VISIBLE_S = 10.0
_LOOK_EVERY_S = 0.05


class Difference(NamedTuple):
    """A property of a topic that is not as declared."""

    topic: str
    key: str
    declared: str
    actual: str


class TopicState(NamedTuple):
    """What became of one topic, or how it is: ``missing`` when the broker has none."""

    name: str
    topic: Topic
    missing: bool
    created: bool
    differences: list[Difference]


def create_topics(settings: Settings, replication: int | None = None) -> list[TopicState]:
    """Create the declared topics that are missing; what exists is compared, and not changed.

    ``replication`` None: 3 if the cluster has as many brokers, else 1. With 3 copies and more a write needs 2.
    Safe to do again. Raises :class:`Unavailable`, and :class:`PenstockError` when the broker refuses.
    """
    client = admin(settings)
    before = _present(client, settings)
    missing = [topic for topic in TOPICS if topic.full_name(settings) not in before.topics]
    if missing:
        copies = replication or (SAFE_REPLICATION if len(before.brokers) >= SAFE_REPLICATION else 1)
        _create(client, [_new_topic(topic, settings, copies) for topic in missing])
        names = {topic.full_name(settings) for topic in missing}
        _wait_until(lambda: _all_led(_present(client, settings).topics, names))
    return [state._replace(created=state.topic in missing) for state in _states(client, settings)]


def topic_states(settings: Settings) -> list[TopicState]:
    """Compare all declared topics with what the broker has. Raises as :func:`create_topics` does."""
    return _states(admin(settings), settings)


def differences(topic: Topic, name: str, partitions: int, config: Mapping[str, str]) -> list[Difference]:
    """Return where a topic named ``name`` with ``partitions`` and ``config`` is not as ``topic`` declares."""
    declared = {"partitions": str(topic.partitions), **topic.config()}
    actual = {"partitions": str(partitions), **config}
    return [
        Difference(name, key, value, actual.get(key, "unknown"))
        for key, value in declared.items()
        if actual.get(key) != value
    ]


def _states(client: AdminClient, settings: Settings) -> list[TopicState]:
    names = {topic.full_name(settings): topic for topic in TOPICS}
    found = {name: meta for name, meta in _present(client, settings).topics.items() if name in names}
    configs = _configs(client, list(found))
    return [
        TopicState(name, topic, missing=True, created=False, differences=[])
        if name not in found
        else TopicState(
            name,
            topic,
            missing=False,
            created=False,
            differences=differences(topic, name, len(found[name].partitions), configs[name]),
        )
        for name, topic in names.items()
    ]


def _new_topic(topic: Topic, settings: Settings, copies: int) -> NewTopic:
    safety = {"min.insync.replicas": SAFE_IN_SYNC} if copies >= SAFE_REPLICATION else {}
    return NewTopic(
        topic.full_name(settings),
        num_partitions=topic.partitions,
        replication_factor=copies,
        config={**topic.config(), **safety},
    )


def _create(client: AdminClient, topics: Sequence[NewTopic]) -> None:
    for future in client.create_topics(list(topics), request_timeout=REQUEST_TIMEOUT_S).values():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster
                raise _explained(error) from None


def _explained(error: KafkaException) -> PenstockError:
    cause: KafkaError = error.args[0]
    refused = (KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_CONFIG, KafkaError.POLICY_VIOLATION)
    if cause.code() in refused:
        return PenstockError(f"the broker refuses the topic: {cause.str()}")
    return translate(error)


def _present(client: AdminClient, settings: Settings) -> Any:
    try:
        return client.list_topics(timeout=METADATA_TIMEOUT_S)
    except KafkaException as error:
        raise explain(error, settings) from None


def _configs(client: AdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
    try:
        answers = client.describe_configs(resources, request_timeout=REQUEST_TIMEOUT_S)
        return {
            resource.name: {key: entry.value for key, entry in future.result(REQUEST_TIMEOUT_S).items()}
            for resource, future in answers.items()
        }
    except KafkaException as error:
        raise translate(error) from None


def _all_led(topics: Mapping[str, Any], names: set[str]) -> bool:
    if not names <= topics.keys():
        return False
    partitions = [part for name in names for part in topics[name].partitions.values()]
    return bool(partitions) and all(part.leader >= 0 for part in partitions)


def _wait_until(done: Callable[[], bool]) -> None:
    """Wait until a new topic can be used: the broker answers before every part of it knows."""
    deadline = time.monotonic() + _VISIBLE_S
    while not done():
        if time.monotonic() > deadline:
            raise Unavailable(f"the new topics have no leaders after {_VISIBLE_S:.0f} s")
        time.sleep(_LOOK_EVERY_S)
