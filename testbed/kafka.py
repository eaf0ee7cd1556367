"""A real Apache Kafka: one KRaft node that is broker and controller, run from its jars."""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from testbed.java import (
    QUICK_START,
    cache_folder,
    fetched,
    find_java,
    java_options,
    maven,
    missing_java,
    missing_program,
)
from testbed.part import Part, PartName
from testbed.processes import LOOPBACK, PartError, free_port, is_listening

KAFKA_VERSION = "4.3.1"
LOG4J_VERSION = "2.25.4"
KAFKA_JAVA = 17
NODE_ID = 1
FORMAT_TIMEOUT_SECONDS = 180.0

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>penstock.testbed</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
      <version>{KAFKA_VERSION}</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
      <version>{LOG4J_VERSION}</version>
    </dependency>
  </dependencies>
</project>
"""

LOGGING = """rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c: %m%n
"""


@dataclass(frozen=True)
class ExternalKafka:
    """A broker that somebody else runs, named by KAFKA_BOOTSTRAP_SERVERS."""

    bootstrap_servers: str

    @classmethod
    def from_environment(cls) -> ExternalKafka | None:
        """The one that KAFKA_BOOTSTRAP_SERVERS names; None when it is unset or empty."""
        servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "").strip()
        return cls(servers) if servers else None


class KafkaBroker(Part):
    """Apache Kafka on 127.0.0.1; topics are never created by use, groups form without a delay.

    `settings` are broker properties that come on top of ours and win. `heap_mb` is the largest heap in MiB.
    `jvm_options` come last; `testbed.java.QUICK_START` suits tests, the default suits benches. After `kill`,
    what was acknowledged is still there: Kafka's log is in the page cache of the system.
    """

    name: ClassVar[PartName] = "kafka"
    answer_timeout_seconds: ClassVar[float] = 1.0

    def __init__(
        self,
        *,
        heap_mb: int = 768,
        jvm_options: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        node_id: int = NODE_ID,
    ) -> None:
        super().__init__()
        self.node_id = node_id
        self.cluster_id = _new_cluster_id()
        self.port = free_port()
        self.controller_port = free_port()
        self._java_options = java_options(heap_mb, jvm_options)
        self._settings = dict(settings or {})

    @classmethod
    def missing(cls) -> str | None:
        """Why Kafka can't be started here (no Java, no Maven), and how to get it; None when it can."""
        reason = missing_java(f"Kafka {KAFKA_VERSION}", KAFKA_JAVA)
        reason = reason or missing_program(f"Kafka {KAFKA_VERSION}", _folder())
        return f"{reason}; or set KAFKA_BOOTSTRAP_SERVERS to a broker that runs" if reason else None

    @property
    def bootstrap_servers(self) -> str:
        """What a client connects to: `127.0.0.1:PORT`."""
        return f"{LOOPBACK}:{self.port}"

    def client_config(self) -> dict[str, Any]:
        """The configuration of a confluent-kafka client that may do everything."""
        return {"bootstrap.servers": self.bootstrap_servers}

    def _fetch(self) -> None:
        fetched(_folder(), _fetch_jars)

    def _prepare(self) -> None:
        self._log4j_path.write_text(LOGGING, encoding="utf-8")
        lines = (f"{key}={value}\n" for key, value in self._properties().items())
        self._properties_path.write_text("".join(lines), encoding="utf-8")
        self._format_storage()

    def _command(self) -> Sequence[str | Path]:
        return [*self._java(self._java_options), "kafka.Kafka", self._properties_path]

    def _ready(self) -> bool:
        if not is_listening(self.port):
            return False
        admin = AdminClient({**self.client_config(), "log_level": 0})
        try:
            cluster = admin.list_topics(timeout=self.answer_timeout_seconds)
        except KafkaException:
            return False
        partitions = [part for topic in cluster.topics.values() for part in topic.partitions.values()]
        return self.node_id in cluster.brokers and all(part.leader == self.node_id for part in partitions)

    @property
    def _properties_path(self) -> Path:
        return self.directory / "server.properties"

    @property
    def _log4j_path(self) -> Path:
        return self.directory / "log4j2.properties"

    def _java(self, options: Sequence[str]) -> list[str | Path]:
        java = find_java(KAFKA_JAVA)
        if java is None:
            raise PartError(f"Java {KAFKA_JAVA} was there a moment ago, and is gone")
        logging = f"-Dlog4j2.configurationFile={self._log4j_path}"
        return [java, *options, logging, "-cp", f"{_folder()}/*"]

    def _properties(self) -> dict[str, str]:
        controller = f"{LOOPBACK}:{self.controller_port}"
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node_id),
            "controller.quorum.voters": f"{self.node_id}@{controller}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listeners": f"PLAINTEXT://{self.bootstrap_servers},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap_servers}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.directory / "data"),
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A start after a kill waits until the session of the killed broker is over (by default 9 s).
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "300",
            # One node, and few partitions in the topics of the broker itself: each costs time at first use.
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "share.coordinator.state.topic.num.partitions": "4",
            **self._settings,
        }

    def _format_options(self) -> Sequence[str]:
        """What the storage is formatted with besides."""
        return ()

    def _format_storage(self) -> None:
        command = [*self._java(QUICK_START), "kafka.tools.StorageTool", "format"]
        command += [f"--cluster-id={self.cluster_id}", "--config", self._properties_path, *self._format_options()]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=FORMAT_TIMEOUT_SECONDS, check=False
        )
        if done.returncode != 0:
            raise PartError(f"kafka's storage could not be formatted:\n{done.stdout}{done.stderr}")


def _folder() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def _fetch_jars(folder: Path) -> None:
    pom = folder / "pom.xml"
    pom.write_text(POM, encoding="utf-8")
    maven(
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={folder}",
        directory=folder,
    )
    pom.unlink()


def _new_cluster_id() -> str:
    """A random id in Kafka's form: 16 bytes in URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode("ascii").rstrip("=")
