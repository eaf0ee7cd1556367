"""Parts of a scenario's own, which it may kill: chosen for its rig while the block runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from chaos.rig import Rig
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.kafka_cluster import KafkaCluster
from testbed.postgres import Postgres


@contextmanager
def own_broker(rig: Rig) -> Iterator[KafkaBroker]:
    """Start a broker and have ``rig`` use it."""
    with KafkaBroker(heap_mb=384, jvm_options=QUICK_START) as broker, _broker_of(rig, broker.bootstrap_servers):
        yield broker


@contextmanager
def own_cluster(rig: Rig) -> Iterator[KafkaCluster]:
    """Start three brokers and have ``rig`` use them."""
    with KafkaCluster(heap_mb=256, jvm_options=QUICK_START) as cluster, _broker_of(rig, cluster.bootstrap_servers):
        yield cluster


@contextmanager
def own_postgres(rig: Rig) -> Iterator[Postgres]:
    """Start a Postgres and have ``rig`` use a database of it."""
    with Postgres() as postgres:
        rig.use(database_url=postgres.create_database("views"))
        yield postgres


@contextmanager
def _broker_of(rig: Rig, servers: str) -> Iterator[None]:
    shared = rig.pipeline.parts.bootstrap_servers
    rig.use(bootstrap_servers=servers)
    try:
        yield
    finally:  # what the rig still asks after this one is gone, the shared one answers
        rig.use(bootstrap_servers=shared)


def through(port: int, url: str, proxy_port: int) -> str:
    """Return ``url`` of the part that listens on ``port`` as it is through a proxy."""
    return url.replace(f":{port}/", f":{proxy_port}/")


def start_stages(rig: Rig, processors: int = 1, views: int = 1) -> Rig:
    """Begin, start stages and the load, and wait until all moves."""
    rig.begin()
    rig.start("process", processors)
    rig.start("materialize", views)
    rig.load()
    return rig.settled()
