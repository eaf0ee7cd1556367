"""A real Kafka of TLS, SCRAM-SHA-512 and ACLs: each stage works with its own rights, and with nothing more.

Who is turned away says so in one line: a command that ends does so at once, a stage is not ready and goes on trying.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from penstock.acls import STAGES, Acl, acls
from penstock.settings import Settings, load_settings
from penstock.topics import TOPICS
from testbed.kafka_secure import ADMIN, SecureKafka
from testbed.part import Part
from testbed.pipeline import Parts, Pipeline
from testbed.processes import wait_until

pytestmark = pytest.mark.slow

DENIED = {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
NOWHERE = "http://127.0.0.1:1/apis/ccompat/v7"
"""A registry: nobody gets that far."""


@pytest.fixture(scope="module")
def broker(start_part: Callable[[Part], None]) -> Iterator[SecureKafka]:
    part = SecureKafka({f"penstock-{stage}": f"{stage} secret" for stage in STAGES})
    try:
        start_part(part)
        yield part
    finally:
        part.close()


@pytest.fixture
def pipeline(broker: SecureKafka, tmp_path: Path) -> Iterator[Pipeline]:
    """Topics and groups of the test's own, and no rights yet; commands are run as ``admin`` unless told otherwise."""
    with Pipeline(Parts(broker.bootstrap_servers, NOWHERE), tmp_path / "run") as made:
        yield made.use(**broker.client_settings(ADMIN))


@pytest.fixture(scope="module")
def settled(broker: SecureKafka, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of a pipeline whose topics exist, and whose stages have their rights."""
    prefix = f"rights-{uuid.uuid4().hex[:8]}-"
    with Pipeline(Parts(broker.bootstrap_servers, NOWHERE), tmp_path_factory.mktemp("rights"), prefix=prefix) as made:
        made.use(**broker.client_settings(ADMIN)).run("acls", "apply")
        made.run("topics", "create", **broker.client_settings("penstock-admin"))
    return load_settings(topic_prefix=prefix)


def test_rights_are_given_once_and_only_to_whom_was_named(pipeline: Pipeline, broker: SecureKafka) -> None:
    count = len(acls(load_settings(topic_prefix=pipeline.prefix)))
    assert f"{count} rights given, 0 were there" in pipeline.run("acls", "apply").stdout
    assert f"0 rights given, {count} were there" in pipeline.run("acls", "apply").stdout
    someone = pipeline.run("acls", "apply", "--stage", "producers", "--principal", "producers=User:someone").stdout
    assert "2 rights given, 0 were there" in someone
    refused = pipeline.run("acls", "apply", expect=1, **broker.client_settings("penstock-producers"))
    assert "Cluster authorization failed" in refused.verdict_line


def test_topics_are_created_and_listed_with_the_rights_of_the_admin(pipeline: Pipeline, broker: SecureKafka) -> None:
    admin = broker.client_settings("penstock-admin")
    assert "authorization failed" in pipeline.run("topics", "create", expect=1, **admin).verdict_line
    pipeline.run("acls", "apply")
    assert pipeline.run("topics", "create", **admin).stdout.count(": created") == len(TOPICS)
    assert pipeline.run("topics", "list", **admin).stdout.count("as declared") == len(TOPICS)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_may_write_the_topics_that_are_declared_for_it_and_no_other(
    broker: SecureKafka, settled: Settings, stage: str
) -> None:
    producer = Producer({**broker.client_config(f"penstock-{stage}"), "log_level": 0, "message.timeout.ms": 20_000})
    outcome: dict[str, KafkaError | None] = {}
    names = [topic.full_name(settled) for topic in TOPICS]
    for name in names:
        producer.produce(name, b"x", b"k", 0, lambda error, message: outcome.__setitem__(message.topic(), error))
    assert producer.flush(30.0) == 0
    written = {name for name, error in outcome.items() if error is None}
    assert written == _declared(settled, stage, "topic", "write")
    refused = {error.code() for error in outcome.values() if error is not None}
    assert refused <= {KafkaError.TOPIC_AUTHORIZATION_FAILED}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_may_read_the_topics_that_are_declared_for_it_and_no_other(
    broker: SecureKafka, settled: Settings, stage: str
) -> None:
    config = {**broker.client_config(f"penstock-{stage}"), "group.id": "none", "log_level": 0}
    config |= {"enable.partition.eof": True, "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer(config)
    names = [topic.full_name(settled) for topic in TOPICS]
    seen = [name for name in names if consumer.list_topics(name, timeout=30.0).topics[name].error is None]
    outcome: dict[str, bool] = {}
    consumer.assign([TopicPartition(name, 1, 0) for name in seen])

    def all_answered() -> bool:
        message = consumer.poll(1.0)
        if message is not None and message.topic():
            error = message.error()
            outcome[message.topic()] = error is None or error.code() == KafkaError._PARTITION_EOF
        return len(outcome) == len(seen)

    try:
        wait_until(all_answered, 60.0, f"every topic answers {stage}")
    finally:
        consumer.close()
    assert {name for name, readable in outcome.items() if readable} == _declared(settled, stage, "topic", "read")


@pytest.mark.parametrize(("stage", "group"), [("producers", "processors"), ("referee", "processors"),
                                              ("consumers", "processors"), ("processors", "consumers")])  # fmt: skip
def test_a_stage_may_not_join_the_group_of_another(
    broker: SecureKafka, settled: Settings, stage: str, group: str
) -> None:
    name = f"{settled.topic_prefix}penstock-{group}.v1"
    consumer = Consumer({**broker.client_config(f"penstock-{stage}"), "group.id": name, "log_level": 0})
    consumer.subscribe([f"{settled.topic_prefix}orders"])
    seen: set[int] = set()

    def refused() -> bool:
        message = consumer.poll(1.0)
        if message is not None and message.error() is not None:
            seen.add(message.error().code())
        return bool(seen & DENIED)

    try:
        wait_until(refused, 60.0, f"{stage} is refused")
        assert consumer.assignment() == []
    finally:
        consumer.close()


@pytest.mark.parametrize(
    ("command", "change", "words"),
    [
        ("topics list", "KAFKA_SASL_PASSWORD=wrong", "refuses our login|invalid credentials|KAFKA_SASL_*"),
        ("verify", "KAFKA_SASL_USERNAME=nobody", "refuses our login|invalid credentials|KAFKA_SASL_*"),
        ("acls apply", "KAFKA_SASL_MECHANISM=PLAIN", "refuses our login|SCRAM-SHA-512|KAFKA_SASL_*"),
        ("produce orders --count 1 --timeout 50s", "KAFKA_SSL_CA_LOCATION=", "no TLS|certificate|KAFKA_SSL_*"),
    ],
)
def test_wrong_credentials_end_a_command_at_once_with_one_line(
    pipeline: Pipeline, broker: SecureKafka, command: str, change: str, words: str
) -> None:
    name, _, value = change.partition("=")
    done = pipeline.run(*command.split(), expect=2, timeout=45.0, **{name: value or str(broker.certificates.stranger)})
    assert done.verdict_line.startswith("penstock: ")
    assert all(word in done.verdict_line for word in words.split("|")), done.verdict_line
    assert "secret" not in done.output


@pytest.mark.parametrize("command", ["verify", "produce telemetry --count 1", "process", "materialize"])
def test_a_missing_right_ends_a_command_with_one_line_that_names_the_way(
    pipeline: Pipeline, broker: SecureKafka, command: str
) -> None:
    done = pipeline.run(*command.split(), expect=1, **broker.client_settings("penstock-admin"))
    assert "authorization failed" in done.output
    assert "penstock acls list" in done.output


@pytest.mark.parametrize("command", ["process", "materialize", "produce orders --rate 5"])
def test_a_stage_that_is_refused_says_so_and_works_once_it_is_let_in(
    pipeline: Pipeline, broker: SecureKafka, command: str
) -> None:
    user = f"late-{uuid.uuid4().hex[:8]}"
    login = {**broker.client_settings(ADMIN), "KAFKA_SASL_USERNAME": user, "KAFKA_SASL_PASSWORD": "late secret"}
    stage = pipeline.start("stage", *command.split(), **login)
    part = "broker" if command == "materialize" else "kafka"
    assert "refuses our login" in stage.until_waiting_for(part)
    stage.until(lambda: "refuses our login" in stage.log, "the log says why")
    assert "late secret" not in stage.log
    upsert = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"late secret")
    client = AdminClient(broker.client_config())  # held until the answers are here
    for future in client.alter_user_scram_credentials([upsert]).values():
        future.result(30.0)
    stage.until_ended()
    assert "authorization failed" in stage.log  # let in, and without a right: see above


def _declared(settings: Settings, stage: str, kind: str, operation: str) -> set[str]:
    rights: tuple[Acl, ...] = acls(settings)
    return {acl.name for acl in rights if (acl.stage, acl.kind, acl.operation) == (stage, kind, operation)}
