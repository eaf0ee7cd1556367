"""Kafka clients: one configuration for all of them, topic ids, and which errors mean *away*."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from penstock.errors import PenstockError, ProtectiveStop, Refused, Unavailable, UsageError
from penstock.refusals import ErrorEvents, cause, cause_of
from penstock.settings import Settings
from penstock.topics import Topic

REQUEST_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 5.0
"""For questions with a small answer: who waits for the broker looks this often if it should stop."""

T = TypeVar("T")

_FORBIDDEN = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}

_UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}


def client_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Return librdkafka's configuration for any client, with ``extra`` on top.

    Dots are written as underscores there; callbacks (``error_cb``) keep theirs.
    """
    secret = settings.kafka_sasl_password
    key_secret = settings.kafka_ssl_key_password
    config = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "security.protocol": settings.kafka_security_protocol,
        "sasl.mechanism": settings.kafka_sasl_mechanism,
        "sasl.username": settings.kafka_sasl_username,
        "sasl.password": secret.get_secret_value() if secret else None,
        "ssl.ca.location": _text(settings.kafka_ssl_ca_location),
        "ssl.certificate.location": _text(settings.kafka_ssl_certificate_location),
        "ssl.key.location": _text(settings.kafka_ssl_key_location),
        "ssl.key.password": key_secret.get_secret_value() if key_secret else None,
        "client.id": "penstock",
        "topic.metadata.refresh.interval.ms": 10_000,
        "reconnect.backoff.max.ms": 2_000,
        "allow.auto.create.topics": True if settings.embedded else None,  # who asks for one makes it
        "log_level": 2,
        "error_cb": ErrorEvents(),
        **{key if key.endswith("_cb") else key.replace("_", "."): value for key, value in extra.items()},
    }
    return {key: value for key, value in config.items() if value is not None}


def producer_config(settings: Settings, **extra: Any) -> dict[str, Any]:
    """Return the configuration of a producer: idempotent, all acknowledgements, Java's partitioner, compressed."""
    defaults = {
        "enable_idempotence": True,
        "acks": "all",
        "partitioner": "murmur2_random",
        "compression_type": "lz4",
    }
    return client_config(settings, **(defaults | extra))


def member_config(settings: Settings, group: str, **extra: Any) -> dict[str, Any]:
    """Return the configuration of a stage's group member: its positions are its own, never the group's, and it fetches
    without pauses (librdkafka's own back-off of a second would cost three quarters of the speed)."""
    defaults = {
        "group_id": group,
        "enable_auto_commit": False,
        "auto_offset_reset": "error",
        "partition_assignment_strategy": "roundrobin",
        "session_timeout_ms": settings.session_timeout_ms,
        "heartbeat_interval_ms": max(settings.session_timeout_ms // 4, 250),
        "fetch_queue_backoff_ms": 10,
        "queued_min_messages": 20_000,
    }
    return client_config(settings, **(defaults | extra))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def translate(error: KafkaException | KafkaError) -> PenstockError:
    """Return the exception of Penstock for one of the client's: :class:`Unavailable` where trying again may help."""
    reason: KafkaError = error.args[0] if isinstance(error, KafkaException) else error
    if reason.code() in _FORBIDDEN:
        return _forbidden(reason)
    found = cause(reason)
    if found is not None and found.refused:
        return Refused(found.why)
    return Unavailable(f"the broker does not answer as it should: {reason.str()} ({reason.name()})")


def _forbidden(error: KafkaError, of: str = "") -> PenstockError:
    plain = KafkaError(error.code()).str()  # the broker's own text may be a page of its innards
    return PenstockError(f"{of}{plain}: we lack a right; `penstock acls list` shows those that each stage needs")


def explain(error: KafkaException, settings: Settings) -> PenstockError:
    """Return what :func:`translate` does, and ask the broker why where the client says only that it is away."""
    found = translate(error)
    if settings.embedded or type(found) is not Unavailable:
        return found
    return _asked(settings) or found


def _asked(settings: Settings) -> Unavailable | None:
    found = cause_of(client_config(settings))
    if found is None:
        return None
    return Refused(found.why) if found.refused else Unavailable(found.why)


def made(client: Callable[[dict[str, Any]], T], config: dict[str, Any]) -> T:
    """Return a client. Raises :class:`UsageError` for settings that it refuses: a certificate that is missing."""
    try:
        return client(config)
    except KafkaException as error:
        raise UsageError(f"KAFKA_*: the client refuses the settings: {error.args[0].str()}") from None


def admin(settings: Settings) -> AdminClient:
    """Return an admin client. It connects on first use. Raises as :func:`made` does."""
    return made(AdminClient, client_config(settings))


def topic_ids(settings: Settings, topics: Iterable[Topic]) -> dict[str, str]:
    """Return the ids of ``topics`` by logical name.

    The embedded broker has no topic ids: the run's id stands in. Raises :class:`Unavailable`, or
    :class:`PenstockError` when a topic does not exist.
    """
    wanted = {topic.full_name(settings): topic.name for topic in topics}
    if settings.embedded:
        return {name: f"{settings.run_id}:{name}" for name in wanted.values()}
    client = admin(settings)  # held until the answers are here: without it they fail
    described = client.describe_topics(TopicCollection(list(wanted)), request_timeout=ANSWER_TIMEOUT_S)
    return {wanted[name]: _topic_id(name, future, settings) for name, future in described.items()}


def _topic_id(name: str, future: Any, settings: Settings) -> str:
    try:
        return str(future.result(ANSWER_TIMEOUT_S).topic_id)
    except KafkaException as error:
        if error.args[0].code() in _UNKNOWN_TOPIC:
            raise _does_not_exist(name) from None
        if error.args[0].code() in _FORBIDDEN:
            raise _forbidden(error.args[0], f"topic {name}: ") from None
        raise explain(error, settings) from None
    except TimeoutError:
        late = Unavailable(f"the broker did not describe topic {name} in {ANSWER_TIMEOUT_S:.0f} s")
        raise _asked(settings) or late from None


def partition_counts(client: Any, settings: Settings, topics: Iterable[Topic]) -> dict[str, int]:
    """Return the partition counts of ``topics`` by logical name, asked of any client (producer, consumer, admin).

    On the embedded broker asking creates the topic. Raises as :func:`topic_ids` does.
    """
    counts = {}
    for topic in topics:
        name = topic.full_name(settings)
        try:
            found = client.list_topics(name, timeout=ANSWER_TIMEOUT_S).topics.get(name)
        except KafkaException as error:
            raise explain(error, settings) from None
        counts[topic.name] = _partition_count(name, found, settings)
    return counts


def _partition_count(name: str, found: Any, settings: Settings) -> int:
    if found is None or (found.error is None and not found.partitions):
        raise Unavailable(f"the broker does not tell the partitions of topic {name}")
    if found.error is None:
        return len(found.partitions)
    if found.error.code() in _FORBIDDEN:
        raise _forbidden(found.error, f"topic {name}: ")
    if found.error.code() in _UNKNOWN_TOPIC and not settings.embedded:
        raise _does_not_exist(name)
    # A topic that is being made has no leader yet.
    raise Unavailable(f"topic {name}: {found.error.str()} ({found.error.name()})")


def _does_not_exist(name: str) -> PenstockError:
    return PenstockError(f"topic {name} does not exist: run `penstock topics create`")


def watermark_offsets(consumer: Any, topic: str, partition: int) -> tuple[int, int]:
    """Return the log's start and end of a partition of full topic name ``topic``. Raises :class:`Unavailable`."""
    try:
        low, high = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=REQUEST_TIMEOUT_S)
    except KafkaException as error:
        raise translate(error) from None
    return low, high


def check_same_topic(name: str, known: str, current: Mapping[str, str]) -> None:
    """Raise :class:`ProtectiveStop` unless ``known``, a topic id that was stored, is the id of topic ``name`` now."""
    if known != current[name]:
        raise ProtectiveStop(
            f"topic {name} was recreated: its id is {current[name]}, what we have was built from {known}; "
            "its numbers can't be continued: start a new PENSTOCK_PIPELINE_VERSION"
        )
