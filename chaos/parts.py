"""Parts of a scenario's own, which it may kill: chosen for its rig while the block runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chaos.ground import DEADLINE_S
from chaos.rig import Rig
from chaos.watch import Away
from penstock.topics import SOURCES
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.kafka_cluster import KafkaCluster
from testbed.postgres import Postgres

ENOUGH_RECORDS = 300


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
    return moving(rig)


def moving(rig: Rig) -> Rig:
    """Wait until the load has come and all stages have settled some of it."""

    def arrived() -> bool:
        with suppress(Away):  # new topics can be without leaders for a moment
            return sum(rig.gauge.ends(sources_only=True).values()) > ENOUGH_RECORDS
        return False

    rig.wait_for(arrived, "the load")
    return rig.settled()


def moves_again(rig: Rig, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Wait until records that come from now on are settled and merged; note the seconds that it took as ``what``.

    Where the log got nothing while the broker was away, :meth:`Rig.recovered` has little to wait for: this has.
    Raises TimeoutError after ``deadline_s``.
    """
    began = time.monotonic()
    sources = {rig.pipeline.prefix + topic.name for topic in SOURCES}
    ends: list[int] = []

    def moved() -> bool:
        with suppress(Away):
            if not ends:
                ends.append(sum(rig.gauge.ends(sources_only=True).values()))
            merged = sum(offset for (topic, _), offset in rig.gauge.merged().items() if topic in sources)
            return min(merged, sum(rig.gauge.folded().values())) > ends[0]
        return False

    rig.wait_for(moved, f"offsets move again: {what}", deadline_s)
    rig.result.recovered(what, time.monotonic() - began)


def says_it_waits(rig: Rig, name: str, part: str) -> None:
    """Wait until a stage says that it is not ready because ``part`` is away; it may be started again meanwhile."""

    def problems() -> list[str]:
        return [problem for problem in rig.stage(name).ask("/ready").problems if part in problem]

    rig.wait_for(problems, f"{name} says that {part} is away")
