"""`penstock verify` beside the real processors and consumers, while they work and when they are done."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from penstock.demo.broker import create_topics
from penstock.schema_ids import LockedIds
from penstock.settings import Settings
from penstock.topics import BY_NAME
from referee.report import Verdict
from referee.verify import verify
from simulation.model import PANE_MS
from tests.processors.logs import FIRST_PANE, entry, heartbeat
from tests.referee import stage

PATIENCE_S = 120.0


@contextmanager
def running(command: str, settings: Settings, logs: Path) -> Iterator[None]:
    """Run a stage as a process of its own while the block runs."""
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "PENSTOCK_EMBEDDED": "true",
        "PENSTOCK_HTTP_PORT": "0",
    }
    with (logs / f"{command}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "penstock", command], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def close_all_panes(settings: Settings) -> None:
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    now = FIRST_PANE + 10 * PANE_MS
    for topic in ("orders", "telemetry"):
        beat = entry(topic, "Heartbeat", heartbeat(5, now), 0, now)
        for partition in range(4):
            producer.produce(BY_NAME[topic].full_name(settings), beat.value, partition=partition, timestamp=now)
    assert producer.flush(30) == 0


def proved_at_the_end(settings: Settings, events: int) -> Verdict:
    """Judge again and again, right each time, until the log's end of ``events`` is reached."""
    while True:
        verdict = verify(settings, LockedIds(), PATIENCE_S)
        assert verdict.differences.rows == []
        assert verdict.proved
        if sum(book.settled for book in verdict.books) == events:
            return verdict


@pytest.mark.slow
def test_the_real_stages_are_proved_while_they_work_and_when_all_panes_are_final(tmp_path: Path) -> None:
    with stage.embedded_broker() as bootstrap, ExitStack() as stages:
        settings = stage.settings_of(bootstrap, f"sqlite:///{tmp_path / 'views.db'}")
        create_topics(bootstrap)
        parts = stage.partitions()
        stage.produce(settings, parts)
        for command in ("process", "materialize"):
            stages.enter_context(running(command, settings, tmp_path))
        events = sum(part.end for part in parts)
        proved_at_the_end(settings, events)
        close_all_panes(settings)
        done = proved_at_the_end(settings, events + 8)
        # The model and the processors agree on the books of the log that was there at first.
        closed = {(book.topic, book.partition): book.frontier.fates for book in done.books}
        for part in parts:
            told = part.told.counts_at(part.end)
            fates = closed[part.topic, part.number]
            assert (fates.applied, fates.duplicate, fates.late, fates.dead) == tuple(
                told[name] for name in ("applied", "duplicate", "late", "dead")
            )
            assert fates.control == told["control"] + 1
