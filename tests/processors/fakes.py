"""What a worker needs of the outside, small and in memory."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import CollectorRegistry

from penstock.avro import Decoded
from penstock.contracts import load_contracts
from penstock.errors import Unavailable
from penstock.frontier import Frontier
from penstock.health import Health
from penstock.pipeline import NO_TIME, fingerprint
from penstock.schema_ids import LockedIds
from penstock.settings import Settings, load_settings
from penstock.topics import SOURCES
from processors.consumer import Batch
from processors.gauges import Gauges
from processors.outbox import Outbox
from processors.restore import Restored
from processors.stretch import Stretch
from processors.worker import Worker
from simulation.model import Entry
from tests.processors.logs import decoder

TOPIC_ID = "orders-id"
ORDERS = ("orders", 2)


@dataclass
class Message:
    """A fetched record, as confluent-kafka shows it."""

    entry: Entry
    its_headers: list[tuple[str, bytes | None]] | None = None

    def offset(self) -> int:
        return self.entry.offset

    def value(self) -> bytes:
        return self.entry.value

    def key(self) -> bytes:
        return b"key"

    def timestamp(self) -> tuple[int, int]:
        return 2, self.entry.appended_ms

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return self.its_headers


@dataclass
class Sender:
    """Keeps what is sent."""

    sent: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def send(self, topic: str, messages: Iterable[tuple[bytes, bytes]]) -> None:
        self.sent += [(topic, key, value) for key, value in messages]

    def to(self, topic: str) -> list[tuple[bytes, bytes]]:
        return [(key, value) for name, key, value in self.sent if name == topic]


@dataclass
class AwayDecoder:
    """A decoder whose registry is away until it is back."""

    asked: threading.Event = field(default_factory=threading.Event)
    back: threading.Event = field(default_factory=threading.Event)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        self.asked.set()
        if not self.back.is_set():
            raise Unavailable("the registry is away")
        return decoder("orders").decode(values)


class Stand:
    """A worker on one partition of orders, its sender, and its registry of metrics."""

    def __init__(self, orders: AwayDecoder | None = None, **settings: Any) -> None:
        self.settings: Settings = load_settings(embedded=True, **settings)
        self.sender, self.registry = Sender(), CollectorRegistry()
        self.outbox = Outbox(self.settings, load_contracts(), LockedIds())
        decoders: Any = {topic.name: decoder(topic.name) for topic in SOURCES}
        if orders is not None:
            decoders["orders"] = orders
        sender: Any = self.sender
        self.worker = Worker(self.settings, decoders, self.outbox, sender, Health(), Gauges(self.registry))

    def begin(self, generation: int = 1, commit: tuple[int, str] | None = None) -> None:
        fresh = Frontier(TOPIC_ID, 0, 0, NO_TIME, fingerprint())
        restored = Restored(0, fresh) if commit is None else Restored(commit[0], Frontier.decode(commit[1]))
        self.worker.begin(generation, {ORDERS: restored})

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def batch(entries: Sequence[Entry], generation: int = 1, follows: int | None = None, **more: Any) -> Batch:
    """Return a batch of these records, which follows the one before."""
    records = Stretch.of([Message(entry, **more) for entry in entries])
    first = entries[0].offset if follows is None else follows
    return Batch(*ORDERS, generation, records, first, entries[-1].offset + 1)
