"""Brokers that die: the only one, for a moment and for long, and each of three."""

from __future__ import annotations

import os
from random import Random

from confluent_kafka.admin import AdminClient

from chaos.parts import moves_again, own_broker, own_cluster, start_stages
from chaos.rig import Rig
from chaos.scenario import scenario
from testbed.kafka_cluster import NODES

GONE_S = "CHAOS_BROKER_GONE_S"
"""The variable that says for how many seconds the broker is gone: 20, or 600 for the long night."""


@scenario(
    "broker-killed",
    kind="broker",
    fault="the only broker is killed and started again; then it is gone for long (20 s; CHAOS_BROKER_GONE_S)",
)
def broker_killed(rig: Rig, rng: Random) -> None:
    """Stages keep what they have, wait, and go on by themselves, or exit and are started again."""
    with own_broker(rig) as broker:
        start_stages(rig, processors=2)
        long = float(os.environ.get(GONE_S, "20"))
        for number in rig.rounds(2):
            rig.wait(rng.uniform(0.5, 2))
            broker.kill()
            rig.fault(part_kills=1)
            rig.wait(long if number == 1 else rng.uniform(0, 2))
            broker.start()
            moves_again(rig, f"broker gone for {long:.0f} s" if number == 1 else "broker killed")
            rig.recovered(what="all that the log held when the broker was back")
        rig.finish()


@scenario("one-of-three-brokers", kind="broker", fault="3 brokers (3 copies, 2 in sync), one killed at a time")
def one_of_three_brokers(rig: Rig, rng: Random) -> None:
    """With two of three left, all goes on while the third is still dead."""
    with own_cluster(rig) as cluster:
        start_stages(rig)
        assert copies(rig) == {NODES}
        nodes = rng.sample(cluster.nodes, NODES)
        for number in rig.rounds(NODES):
            node = nodes[number % NODES]
            cluster.await_in_sync()
            node.kill()
            rig.fault(part_kills=1)
            moves_again(rig, "one of three brokers killed")
            rig.recovered(what="all that the log held when one of three brokers was killed")
            node.start()
        cluster.await_in_sync()
        rig.finish()


def copies(rig: Rig) -> set[int]:
    """Return how many copies the partitions of the rig's topics have."""
    seen = AdminClient({"bootstrap.servers": rig.pipeline.parts.bootstrap_servers}).list_topics(timeout=10.0)
    ours = [topic for name, topic in seen.topics.items() if name.startswith(rig.pipeline.prefix)]
    return {len(partition.replicas) for topic in ours for partition in topic.partitions.values()}
