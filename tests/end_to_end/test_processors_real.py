"""Processors as processes on a real Kafka and a real registry, under load, kills, freezes and losses."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from penstock.topics import BY_NAME
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.part import Part
from testbed.processes import wait_until
from testbed.registry import SchemaRegistry
from tests.end_to_end.processors_rig import PATIENCE_S, SESSION_MS, Processor, Rig, run_until

pytestmark = pytest.mark.slow

OWN_PATIENCE_S = 90.0


@pytest.fixture
def rig(bootstrap_servers: str, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(bootstrap_servers, tmp_path, registry.url)
    made.penstock("schemas", "register")
    made.penstock("topics", "create")
    yield made
    made.close()


def ready(rig: Rig, *processors: Processor) -> None:
    for processor in processors:
        run_until(lambda one=processor: one.status("ready") == 200, lambda: rig.load(5), "it is ready")


def end_of(processor: Processor) -> int:
    """Wait until the process has ended by itself, and return its code."""
    wait_until(lambda: not processor.running, PATIENCE_S, "its end", log=processor.log)
    assert processor.returncode is not None
    return processor.returncode


def settle_and_check(rig: Rig, *processors: Processor) -> None:
    processors[0].wait_until(rig.settled, PATIENCE_S, "the load is settled")
    rig.check()
    for processor in processors:
        assert processor.sum_of("penstock_books_imbalance_events") == 0
        assert processor.returncode is None


@pytest.mark.parametrize("point", ["after-send", "after-flush"])
def test_one_of_two_is_killed_between_send_and_commit_and_its_restart_folds_again(rig: Rig, point: str) -> None:
    other = rig.start()
    ready(rig, other)
    victim = rig.start(f"processors.{point}=kill@3")
    run_until(lambda: not victim.running, lambda: rig.load(20), f"it dies at {point}")
    assert victim.returncode == -signal.SIGKILL
    rig.load(20)
    again = rig.start()
    ready(rig, again)
    again.wait_until(lambda: again.sum_of("penstock_refolded_events") > 0, PATIENCE_S, "it has folded again")
    settle_and_check(rig, other, again)
    rig.close_panes()
    settle_and_check(rig, other, again)


def test_a_zombie_that_wakes_up_when_its_partitions_have_another_owner_changes_no_total(rig: Rig) -> None:
    zombie, other = rig.start(), rig.start()
    ready(rig, zombie, other)
    run_until(
        lambda: zombie.sum_of("penstock_open_panes") > 0 and other.sum_of("penstock_open_panes") > 0,
        lambda: rig.load(10),
        "both own partitions",
    )
    generations = other.log.read_text().count("assigned")
    zombie.send(signal.SIGSTOP)
    run_until(
        lambda: other.log.read_text().count("assigned") > generations,
        lambda: rig.load(20),
        f"the other takes over after {SESSION_MS} ms",
    )
    other.wait_until(rig.settled, PATIENCE_S, "the load is settled without the zombie")
    rig.load(20)
    zombie.send(signal.SIGCONT)
    rig.load(20)
    settle_and_check(rig, other, zombie)
    rig.close_panes()
    settle_and_check(rig, other, zombie)


def test_nothing_is_committed_whose_results_the_broker_did_not_take(rig: Rig) -> None:
    rig.load(20)
    processor = rig.start()
    processor.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    before = rig.frontiers()
    largest_message(rig, "order-metrics-final", 1)
    rig.close_panes(["orders"], [0])  # one burst of results: nothing is sent after it that could notice the refusal
    assert end_of(processor) == 4
    assert processor.said("the broker refused a message")
    assert rig.frontiers() == before

    largest_message(rig, "order-metrics-final", 1_000_000)
    again = rig.start()
    again.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    rig.check()


def largest_message(rig: Rig, topic: str, size: int) -> None:
    name = BY_NAME[topic].full_name(rig.settings)
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka_bootstrap_servers})
    admin.incremental_alter_configs([resource])[resource].result(20)


def test_a_recreated_topic_stops_with_code_4_and_names_it(rig: Rig) -> None:
    rig.load(20)
    processor = rig.start()
    processor.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    processor.stop(signal.SIGTERM)
    assert processor.returncode == 0
    name = f"{rig.settings.topic_prefix}telemetry"
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka_bootstrap_servers})
    admin.delete_topics([name])[name].result(20)
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, PATIENCE_S, "the topic is gone")
    rig.penstock("topics", "create")
    again = rig.start()
    assert end_of(again) == 4
    assert again.said("telemetry was recreated")
    assert again.said("PENSTOCK_PIPELINE_VERSION")


def test_a_topic_recreated_under_a_running_processor_stops_it_with_code_4(rig: Rig) -> None:
    rig.load(20)
    processor = rig.start()
    processor.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    name = f"{rig.settings.topic_prefix}orders"
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka_bootstrap_servers})
    admin.delete_topics([name])[name].result(20)
    wait_until(lambda: name not in admin.list_topics(timeout=10).topics, PATIENCE_S, "the topic is gone")
    rig.penstock("topics", "create")
    assert end_of(processor) == 4
    assert processor.said("was recreated")


def test_offsets_that_were_deleted_below_a_commit_stop_with_code_4_and_say_what_was_lost(rig: Rig) -> None:
    rig.load(20)
    processor = rig.start()
    processor.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    processor.stop(signal.SIGTERM)
    name = f"{rig.settings.topic_prefix}orders"
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka_bootstrap_servers})
    offset, frontier = rig.frontiers()["orders", 1]
    assert offset < frontier.position
    where = TopicPartition(name, 1, frontier.position - 1)
    admin.delete_records([where])[where].result(20)
    again = rig.start()
    assert end_of(again) == 4
    assert again.said(f"{name}[1]: offsets {offset} to {frontier.position} are needed")
    assert again.said("input was lost")


def test_a_log_trimmed_before_the_first_commit_stops_unless_it_is_accepted(rig: Rig) -> None:
    rig.load(20)
    name = f"{rig.settings.topic_prefix}orders"
    admin = AdminClient({"bootstrap.servers": rig.settings.kafka_bootstrap_servers})
    where = TopicPartition(name, 1, 7)
    admin.delete_records([where])[where].result(20)
    stopped = rig.start()
    assert end_of(stopped) == 4
    assert stopped.said("PENSTOCK_ACCEPT_TRIMMED_LOG")
    going = rig.start(PENSTOCK_ACCEPT_TRIMMED_LOG="true")
    going.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    assert rig.frontiers()["orders", 1][1].start == 7
    assert going.sum_of("penstock_books_imbalance_events") == 0


@pytest.fixture
def own(start_part: Callable[[Part], None]) -> Iterator[tuple[KafkaBroker, SchemaRegistry]]:
    """A broker and a registry of the test's own, to be taken away."""
    broker, registry = KafkaBroker(jvm_options=QUICK_START), SchemaRegistry()
    start_part(broker)
    start_part(registry)
    yield broker, registry
    registry.close()
    broker.close()


def freeze(part: Part) -> None:
    """Take a part away that would lose its memory by a kill."""
    assert part.pid is not None
    os.kill(part.pid, signal.SIGSTOP)


def thaw(part: Part) -> None:
    assert part.pid is not None
    os.kill(part.pid, signal.SIGCONT)


def test_the_broker_and_the_registry_may_go_and_come_back(
    own: tuple[KafkaBroker, SchemaRegistry], tmp_path: Path
) -> None:
    broker, registry = own
    rig = Rig(broker.bootstrap_servers, tmp_path, registry.url)
    try:
        rig.penstock("schemas", "register")
        rig.penstock("topics", "create")
        rig.load(20)
        freeze(registry)
        processor = rig.start()
        processor.wait_until(lambda: processor.status("ready") == 503, PATIENCE_S, "it waits, and says so")
        processor.wait_until(lambda: processor.said("waiting for registry"), PATIENCE_S, "it says for what")
        assert processor.status("live") == 200
        thaw(registry)
        processor.wait_until(rig.settled, OWN_PATIENCE_S, "the load is settled")

        rig.load(20)
        broker.kill()
        processor.wait_until(
            lambda: processor.status("ready") == 503, OWN_PATIENCE_S, "it sees that the broker is away"
        )
        assert processor.status("live") == 200
        broker.start()
        rig.load(20)
        processor.wait_until(rig.settled, OWN_PATIENCE_S, "the load is settled")
        processor.wait_until(lambda: processor.status("ready") == 200, OWN_PATIENCE_S, "it is ready again")
        rig.check()
        processor.stop(signal.SIGTERM)
        assert processor.returncode == 0
    finally:
        rig.close()
