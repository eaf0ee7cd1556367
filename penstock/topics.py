"""Every topic of Penstock, declared once. A new topic is one line of :data:`TOPICS`.

A topic's *logical* name is what the code says (``orders``); its *full* name is what Kafka sees: prefix in
front, and for what a pipeline writes its version behind (``test-order-metrics.v1``).
"""

from dataclasses import dataclass
from typing import Literal

from penstock.settings import Settings

PARTITIONS = 4
"""Partitions of each topic: what librdkafka's embedded broker gives as well, so both modes agree."""

DAY_MS = 86_400_000

Role = Literal["source", "results", "letters", "probes"]


@dataclass(frozen=True)
class Topic:
    """What a topic is declared to be. Retention in milliseconds, -1 for ever."""

    name: str
    role: Role
    folders: tuple[str, ...]
    """Folders of ``avro_schemas`` whose records it carries."""
    compacted: bool = False
    retention_ms: int = -1
    partitions: int = PARTITIONS

    def full_name(self, settings: Settings) -> str:
        """Return the name that Kafka knows."""
        version = "" if self.role == "source" else f".v{settings.pipeline_version}"
        return f"{settings.topic_prefix}{self.name}{version}"

    def config(self) -> dict[str, str]:
        """Return Kafka's configuration of this topic."""
        return {
            "cleanup.policy": "compact" if self.compacted else "delete",
            "retention.ms": str(self.retention_ms),
            "message.timestamp.type": "LogAppendTime",
        }


TOPICS = (
    Topic("orders", "source", ("orders", "shared")),
    Topic("telemetry", "source", ("telemetry", "shared"), retention_ms=30 * DAY_MS),
    Topic("order-metrics", "results", ("order-metrics", "results"), compacted=True),
    Topic("order-metrics-final", "results", ("order-metrics", "results"), compacted=True),
    Topic("telemetry-metrics", "results", ("telemetry-metrics", "results"), compacted=True),
    Topic("telemetry-metrics-final", "results", ("telemetry-metrics", "results"), compacted=True),
    Topic("late-events", "letters", ("late-events",)),
    Topic("dead-letters", "letters", ("dead-letters",)),
    Topic("freshness", "probes", ("freshness",), compacted=True),
)

BY_NAME = {topic.name: topic for topic in TOPICS}
SOURCES = tuple(topic for topic in TOPICS if topic.role == "source")


def group_id(settings: Settings, stage: str) -> str:
    """Return the consumer group of ``stage`` (``processors``, ``consumers``); it follows prefix and version."""
    return f"{settings.topic_prefix}penstock-{stage}.v{settings.pipeline_version}"
