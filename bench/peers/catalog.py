"""The peers: how each is made ready, run and described."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from bench.peers import installed
from bench.peers.task import SCHEMAS, WRITERS, Task
from testbed.java import java_options
from testbed.processes import free_port

HEAP_MB = 1024
_OPENED = ("java.lang", "java.util", "java.util.concurrent", "java.net", "java.io", "java.nio", "java.time")


@dataclass(frozen=True)
class Peer:
    """A system that does the jobs with a program of its own."""

    name: str
    version: Callable[[], str]
    settings: str
    command: Callable[[str, Path], list[str]]
    """By job and folder; makes what it needs first. May raise :class:`testbed.processes.PartUnavailableError`."""
    slow: bool = False
    """Gets a part of the events, of the same density."""

    def environment(self, task: Task) -> dict[str, str]:
        """Return what its program is told besides the environment of every stage."""
        return task.environment() | {
            "PEER_SCHEMA": str(SCHEMAS / WRITERS[task.job]),
            "PEER_CORES": str(os.cpu_count() or 1),
            "PEER_REST_PORT": str(free_port()),
        }


def _python(module: str, environment: str | None) -> Callable[[str, Path], list[str]]:
    def command(job: str, folder: Path) -> list[str]:
        python = sys.executable if environment is None else str(installed.python_with(environment))
        return [python, "-m", f"bench.peers.{module}"]

    return command


def _kafka_streams(job: str, folder: Path) -> list[str]:
    path = installed.compiled("kafka_streams", folder)
    return [str(installed.java()), *_jvm(), "-cp", path, "KafkaStreamsPeer"]


def _flink_sql(job: str, folder: Path) -> list[str]:
    path = installed.compiled("flink_sql", folder)
    opened = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in _OPENED]
    return [str(installed.java()), *_jvm(), *opened, "-cp", path, "FlinkSqlPeer", str(_sql(job))]


def _sql(job: str) -> Path:
    return installed.HERE / "flink_sql" / f"{job}.sql"


def _jvm() -> list[str]:
    return java_options(HEAP_MB, ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error"])


def _flink_version() -> str:
    connector = installed.pom_version("flink_sql", "flink-connector-kafka")
    return f"{installed.pom_version('flink_sql', 'flink-clients')}, connector {connector}"


PEERS = (
    Peer(
        "confluent-kafka + fastavro",
        lambda: f"{version('confluent-kafka')}, {version('fastavro')}",
        "batches of 10,000, fetch.queue.backoff.ms 10; the reader's schema has the needed fields alone",
        _python("python_loop", None),
    ),
    Peer(
        "Kafka Streams",
        lambda: installed.pom_version("kafka_streams", "kafka-streams"),
        "a thread a core, at least once, commit interval 30 s (default), cache 64 MiB, heap 1 GiB; window updates; "
        "the reader's schema has the needed fields alone; the wait for the last flush is left out",
        _kafka_streams,
    ),
    Peer(
        "Flink SQL",
        _flink_version,
        "embedded cluster, a slot a core, no checkpoints, object reuse, mini-batches of 10,000 or 1 s, heap 1 GiB; "
        "avro-confluent with the needed fields alone; closed windows; measured once its tasks are set up",
        _flink_sql,
    ),
    Peer(
        "Bytewax",
        lambda: installed.locked_version("bytewax", "bytewax"),
        "one worker, batches of 1,000, no recovery store, EventClock that waits 10 s, fold_window",
        _python("bytewax", "bytewax"),
        slow=True,
    ),
    Peer(
        "Quix Streams",
        lambda: installed.locked_version("quix", "quixstreams"),
        "at least once, commit interval 5 s (default), RocksDB with changelog, closed windows (final), "
        "fetch.queue.backoff.ms 10",
        _python("quix", "quix"),
        slow=True,
    ),
)
