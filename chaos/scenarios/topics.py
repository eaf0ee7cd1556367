"""Topics that are not what they were, and producers whose clock is wrong."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import Future
from random import Random
from typing import Any

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AdminClient,
    NewPartitions,
    NewTopic,
)

from chaos.loader import BEHIND_MS
from chaos.parts import moving, start_stages
from chaos.proof import read_truth
from chaos.rig import Rig
from chaos.scenario import scenario
from penstock.topics import BY_NAME, PARTITIONS, SOURCES
from testbed.processes import wait_until

HOUR_MS = 60 * 60_000
SKEWED_EVENTS = 300
FEW, MORE = 3, 6
"""Partitions before and after."""

Row = tuple[Any, ...]


@scenario(
    "clock-off-by-an-hour", kind="topics",
    fault="a producer whose clock is one hour ahead, and one an hour behind",
)
def clock_off_by_an_hour(rig: Rig, rng: Random) -> None:
    """What comes from the future is dead-lettered and moves no time, what comes from the past is late; no other is."""
    start_stages(rig)
    ahead = produce_by_wrong_clock(rig, rng, "orders", HOUR_MS)
    rig.truth.add(rig.pipeline.prefix + "orders", {"dead": sum(ahead.values())})
    # The load's own event time began two hours back: behind is behind that.
    behind = produce_by_wrong_clock(rig, rng, "telemetry", -BEHIND_MS - HOUR_MS)
    rig.truth.add(rig.pipeline.prefix + "telemetry", {"late": behind["applied"], "control": behind["control"]})
    rig.fault(2)
    rig.recovered(what="clock an hour off")
    rig.finish()
    rig.result.rounds = 1


def produce_by_wrong_clock(rig: Rig, rng: Random, topic: str, skew_ms: int) -> dict[str, int]:
    """Produce a few events to each partition by a clock that is off; return what the producer takes them for."""
    truth = rig.folder / f"skewed-{topic}.json"
    words = {
        "--skew-ms": skew_ms, "--rate": 200, "--count": SKEWED_EVENTS, "--seed": rng.randrange(1 << 31),
        "--truth": truth,
    }  # fmt: skip
    flags = [str(word) for flag in words.items() for word in flag]
    with (rig.folder / "skewed.log").open("ab") as log:
        subprocess.run(
            [sys.executable, "-m", "chaos.skewed_producer", topic, *flags],
            env=rig.pipeline.environment({"PENSTOCK_DIE_WITH_PARENT": "true"}),
            cwd=rig.folder, stdout=log, stderr=log, timeout=60, check=True,
        )  # fmt: skip
    told = read_truth(truth)
    assert told["complete"]
    fates: dict[str, int] = told["topics"][topic]["fates"]
    assert fates["applied"] == SKEWED_EVENTS
    return fates


@scenario(
    "records-deleted", kind="topics",
    fault="DeleteRecords past the stored offsets, the stages stopped",
    ends="stopped",
)
def records_deleted(rig: Rig, rng: Random) -> None:
    """Processors and views stop (exit code 4), say what is lost, and leave all as it was."""
    start_stages(rig)
    for name in ("process-1", "materialize-1"):
        rig.leave(name)
    before = memory(rig)
    rig.wait(rng.uniform(1, 2))
    rig.stop_load()
    topic = rig.pipeline.prefix + "orders"
    ends = [TopicPartition(topic, number, -1) for number in range(PARTITIONS)]
    client = admin(rig)
    done(client.delete_records(ends))
    rig.fault()
    stages = [*rig.start("process"), *rig.start("materialize")]
    rig.stopped_as_promised("start a new PENSTOCK_PIPELINE_VERSION", "lost", names=stages)
    assert memory(rig) == before, "a stage that stopped has changed something"
    rig.result.rounds = 1


@scenario(
    "topic-recreated", kind="topics",
    fault="a topic deleted and made again: stages running, stages stopped",
    ends="stopped",
)
def topic_recreated(rig: Rig, rng: Random) -> None:
    """Those that run stop within seconds (exit code 4), and those that are started again later stop at once."""
    start_stages(rig)
    rig.wait(rng.uniform(0, 1))
    rig.stop_load()
    rig.settled()
    recreate(rig, rig.pipeline.prefix + "orders")
    rig.fault()
    stages = ["process-1", "materialize-1"]
    rig.stopped_as_promised("orders", names=stages)
    before = memory(rig)
    assert [*rig.start("process"), *rig.start("materialize")] == stages
    rig.stopped_as_promised("was recreated", "start a new PENSTOCK_PIPELINE_VERSION", names=stages)
    assert memory(rig) == before, "a stage that stopped has changed something"
    rig.result.rounds = 1


@scenario("partitions-added", kind="topics", fault=f"partitions {FEW} to {MORE} under load")
def partitions_added(rig: Rig, rng: Random) -> None:
    """Producers keep the count that they began with; restarted ones use all, and all of it is settled."""
    names = [rig.pipeline.prefix + topic.name for topic in SOURCES]
    rig.begin()
    for name in names:
        recreate(rig, name, FEW)
    rig.start("process", 2)
    rig.start("materialize")
    load = rig.load()
    moving(rig)
    client = admin(rig)
    done(client.create_partitions([NewPartitions(name, MORE) for name in names]))
    rig.fault()
    rig.recovered(what="partitions added")
    rig.restart(load)
    rig.wait(rng.uniform(3, 4))
    rig.recovered(what="new partitions in use")
    used = {partition for topic, partition in rig.gauge.folded() if topic in names}
    rig.result.rounds = 1
    assert used == set(range(MORE)), f"partitions with a frontier: {sorted(used)}"
    rig.finish()


def memory(rig: Rig) -> tuple[dict[Any, str], list[Row], list[Row]]:
    """Return what stages have stored: the frontiers as they are committed, the views' offsets, and some of the rows."""
    frontiers = {place: frontier.encode() for place, frontier in rig.gauge.frontiers().items()}
    offsets = rig.pipeline.rows("SELECT view, topic, partition, topic_id, next FROM offsets ORDER BY 1, 2, 3")
    panes = rig.pipeline.rows("SELECT source_topic, sum(applied) FROM pane_counts GROUP BY 1 ORDER BY 1")
    return frontiers, offsets, panes


def recreate(rig: Rig, name: str, partitions: int = PARTITIONS) -> None:
    """Delete a topic and make it again, as `penstock topics create` does but for its partitions."""
    client = admin(rig)
    done(client.delete_topics([name]))
    wait_until(lambda: name not in client.list_topics(timeout=5.0).topics, 30.0, f"the end of {name}")
    logical = name.removeprefix(rig.pipeline.prefix)
    done(client.create_topics([NewTopic(name, partitions, 1, config=BY_NAME[logical].config())]))


def admin(rig: Rig) -> AdminClient:
    """Return an admin client of the rig's broker; hold it until it has answered."""
    return AdminClient({"bootstrap.servers": rig.pipeline.parts.bootstrap_servers, "log_level": 0})


def done(futures: dict[Any, Future[Any]]) -> None:
    """Wait for what an admin client was asked. Raises KafkaException."""
    for future in futures.values():
        future.result(30.0)
