"""The embedded broker with a few events on it, and `penstock materialize` as a process of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from consumers.stores import open_store
from penstock.errors import PenstockError
from penstock.settings import load_settings
from tests.consumers.builders import Event, encode

PATIENCE_S = 60.0
ROOT = Path(__file__).parents[2]


class Cluster:
    """librdkafka's mock cluster. Its topics have 4 partitions and are made by their first use."""

    def __init__(self) -> None:
        self._host = Producer({"bootstrap.servers": "none", "test.mock.num.brokers": 1, "log_level": 0})
        (broker,) = self._host.list_topics(timeout=10).brokers.values()
        self.address = f"{broker.host}:{broker.port}"
        self._producer = Producer({"bootstrap.servers": self.address, "log_level": 0, "enable.idempotence": True})

    def send(self, topic: str, events: Sequence[Event | bytes], partition: int | None = None) -> None:
        """Send ``events`` to a topic by its full name, each to the partition of its number, and wait."""
        logical = topic.removesuffix(".v1")
        for number, event in enumerate(events):
            value = encode(logical, event)
            self._producer.produce(topic, value, partition=number % 4 if partition is None else partition)
        assert self._producer.flush(PATIENCE_S) == 0


class Views:
    """The views in one SQLite file, and the processes that keep them."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.environment = {
            "KAFKA_BOOTSTRAP_SERVERS": cluster.address,
            "PENSTOCK_EMBEDDED": "true",
            "PENSTOCK_RUN_ID": "run",
            "DATABASE_URL": f"sqlite:///{folder}/views.db",
            "PENSTOCK_HTTP_PORT": "0",
            "PENSTOCK_VIEW_BATCH_RECORDS": "100",
            "PENSTOCK_SESSION_TIMEOUT_MS": "4000",
            "LOG_FORMAT": "json",
        }
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *views: str, **environment: str) -> subprocess.Popen[str]:
        """Start `penstock materialize`; its standard error goes to a file named by the order of starts."""
        log = (self.folder / f"{len(self.processes)}.log").open("w")
        with log:
            process = subprocess.Popen(
                [sys.executable, "-c", "from penstock.cli import main; main()", "materialize", *views],
                env={**os.environ, **self.environment, **environment}, stderr=log, cwd=ROOT, text=True,
            )  # fmt: skip
        self.processes.append(process)
        return process

    def log(self, number: int = -1) -> str:
        """Return what the process started as ``number`` said."""
        return (self.folder / f"{range(len(self.processes))[number]}.log").read_text()

    def end(self, process: subprocess.Popen[str], *, kill: bool = False) -> int:
        """Stop a process, in order or not; return its exit code."""
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        return process.wait(PATIENCE_S)

    def close(self) -> None:
        """Kill what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait(PATIENCE_S)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Return the rows of ``sql``; none while there is no such relation."""
        store = open_store(load_settings(database_url=self.environment["DATABASE_URL"]))
        try:
            with store.snapshot() as transaction:
                return list(transaction.fetch(sql))
        except PenstockError:
            return []
        finally:
            store.close()

    def merged(self, view: str) -> int:
        """Return how many offsets a view has merged, over all partitions."""
        rows = self.query(f"SELECT sum(next) FROM offsets WHERE view = '{view}'")
        return int(rows[0][0] or 0) if rows else 0

    def await_merged(self, counts: Mapping[str, int]) -> None:
        """Wait until the views have merged that many offsets."""
        self.until(lambda: all(self.merged(view) >= count for view, count in counts.items()), f"{counts} merged")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for ``condition``, while the last process runs."""
        deadline = time.monotonic() + PATIENCE_S
        pause = 0.02
        while not condition():
            ended = self.processes[-1].poll()
            assert ended is None, f"waiting for {what}: exit code {ended}\n{self.log()}"
            assert time.monotonic() < deadline, f"waited in vain for {what}\n{self.log()}"
            time.sleep(pause)
            pause = min(0.2, pause * 1.5)
