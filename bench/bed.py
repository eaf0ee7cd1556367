"""The ground of a bench: real parts, topics of a prefix of its own, and filled logs."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

from bench.events import Event, Load
from bench.watch import SAMPLE_EVERY_S, Watched
from penstock.kafka import producer_config
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME, PARTITIONS
from testbed.kafka import KafkaBroker
from testbed.postgres import Postgres
from testbed.processes import PartError, log_tail
from testbed.registry import SchemaRegistry

PENSTOCK = (sys.executable, "-c", "from penstock.cli import main; main()")
ROOT = Path(__file__).parent.parent
_COMMAND_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Bed:
    """What a stage is measured on."""

    kafka: str
    registry: str
    postgres: Postgres | None
    folder: Path
    """Logs and databases of the run."""

    def environment(self, prefix: str, **more: str) -> dict[str, str]:
        """Return the environment of a stage whose topics begin with ``prefix``."""
        own = {
            "KAFKA_BOOTSTRAP_SERVERS": self.kafka,
            "SCHEMA_REGISTRY_URL": self.registry,
            "PENSTOCK_TOPIC_PREFIX": prefix,
            "PENSTOCK_HTTP_PORT": "0",
            "LOG_FORMAT": "json",
            "PYTHONPATH": str(ROOT),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        return {**inherited, **own, **more}

    def settings(self, prefix: str, version: int = 1) -> Settings:
        """Return the same as settings."""
        return load_settings(
            kafka_bootstrap_servers=self.kafka,
            schema_registry_url=self.registry,
            topic_prefix=prefix,
            pipeline_version=version,
        )

    def run(self, *arguments: str, **environment: str) -> None:
        """Run a one-shot ``penstock`` command. Raises :class:`PartError` with what it said when it fails."""
        done = subprocess.run(
            [*PENSTOCK, *arguments],
            env=self.environment("", **environment), cwd=self.folder, capture_output=True, text=True,
            timeout=_COMMAND_TIMEOUT_S, check=False,
        )  # fmt: skip
        if done.returncode:
            said = f"{done.stdout}{done.stderr}"
            raise PartError(f"`penstock {' '.join(arguments)}` ended with {done.returncode}:\n{said}")

    def create_topics(self, prefix: str, version: int = 1) -> None:
        """Create the topics of a prefix and a version, and register the contracts."""
        where = {"PENSTOCK_TOPIC_PREFIX": prefix, "PENSTOCK_PIPELINE_VERSION": str(version)}
        self.run("topics", "create", **where)
        self.run("schemas", "register", **where)

    @contextmanager
    def watch(
        self, name: str, command: Iterable[str], environment: dict[str, str], every_s: float = SAMPLE_EVERY_S
    ) -> Iterator[Watched]:
        """Run a command and watch what it uses; it is stopped at the end. Its log is shown when it failed."""
        log = self.folder / f"{name}-{secrets.token_hex(3)}.log"
        with Watched(name, list(command), log, environment, self.folder, every_s) as watched:
            try:
                yield watched
            except PartError:  # which shows the log itself
                raise
            except BaseException:
                sys.stderr.write(f"{log_tail(log)}\n")
                raise


@contextmanager
def real_bed(*, postgres: bool) -> Iterator[Bed]:
    """Start Kafka (with its full compiler), the registry and, if asked, Postgres."""
    with ExitStack() as stack:
        kafka = stack.enter_context(KafkaBroker(heap_mb=1024))
        registry = stack.enter_context(SchemaRegistry())
        database = stack.enter_context(Postgres()) if postgres else None
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="penstock-bench-")))
        yield Bed(kafka.bootstrap_servers, registry.url, database, folder)


def new_prefix(stage: str) -> str:
    """Return a topic prefix that nobody has."""
    return f"bench-{secrets.token_hex(4)}-{stage}-"


def fill(settings: Settings, load: Load, *, events: bool = True, close: bool = True) -> None:
    """Send a load and its closing heartbeats (or one of the two), with the product's producer configuration."""
    topic = BY_NAME[load.topic].full_name(settings)
    producer = _producer(settings)
    if events:
        send(producer, topic, load.events)
        _flush(producer)  # which makes room for the heartbeats
    for partition in range(PARTITIONS if close else 0):
        producer.produce(topic, load.closing, partition=partition)
    _flush(producer)


def fill_plain(settings: Settings, topic: str, events: Iterable[Event]) -> None:
    """Create ``topic`` and send events to it, uncompressed and without heartbeats: for those who know neither.

    (aiokafka alone can't read LZ4.)
    """
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for future in admin.create_topics([NewTopic(topic, PARTITIONS, 1)]).values():
        future.result(30)
    producer = _producer(settings, compression_type="none")
    send(producer, topic, events)
    _flush(producer)


def send(producer: Producer, topic: str, events: Iterable[Event]) -> None:
    """Hand events to the client as fast as it takes them."""
    for key, value in events:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)


def _producer(settings: Settings, **extra: str) -> Producer:
    return Producer(producer_config(settings, linger_ms=10, queue_buffering_max_messages=200_000, **extra))


def _flush(producer: Producer) -> None:
    deadline = time.monotonic() + _COMMAND_TIMEOUT_S
    while left := producer.flush(1.0):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} events were not acknowledged in {_COMMAND_TIMEOUT_S:.0f} s")
