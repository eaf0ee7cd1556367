"""What every peer is told, by its environment, and what it says, by lines of its log. Standard library and fastavro."""

import io
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

MINUTE_MS = 60_000
GRACE_MS = 10_000
HEADER_BYTES = 5
SCHEMAS = Path(__file__).parent.parent.parent / "avro_schemas"
WRITERS = {"orders": "orders/OrderPlaced.avsc", "telemetry": "telemetry/ReadingTaken.avsc"}
NEEDED = {"orders": ("occurred_at", "country", "amount"), "telemetry": ("occurred_at", "device_id", "value")}
GROUPS = {"orders": "country", "telemetry": "device_id"}


@dataclass(frozen=True)
class Task:
    """One job for one peer."""

    job: str
    """``orders``: count and revenue by country; ``telemetry``: count, sum, min and max by device. By minute, both."""
    broker: str
    topic: str
    out: str
    """The topic for answers, one partition: JSON with ``pane``, ``key``, ``count``, ``sum`` (and ``min``, ``max``)."""
    group: str
    records: int
    """Events in the topic, and the heartbeats that end it: one a partition, of another schema."""
    heartbeats: int
    """How many of the records are heartbeats."""
    schema_id: int
    registry: str
    folder: str
    """Where state may be kept."""

    @classmethod
    def from_environment(cls) -> "Task":
        """Return the task of this process."""
        known = os.environ
        return cls(
            job=known["PEER_JOB"],
            broker=known["PEER_BROKER"],
            topic=known["PEER_TOPIC"],
            out=known["PEER_OUT"],
            group=known["PEER_GROUP"],
            records=int(known["PEER_RECORDS"]),
            heartbeats=int(known["PEER_HEARTBEATS"]),
            schema_id=int(known["PEER_SCHEMA_ID"]),
            registry=known["PEER_REGISTRY"],
            folder=known["PEER_FOLDER"],
        )

    def environment(self) -> dict[str, str]:
        """Return what :meth:`from_environment` reads."""
        return {f"PEER_{name.upper()}": str(value) for name, value in vars(self).items()}


def say(event: str, **more: Any) -> None:
    """Write a line that the harness reads: ``begin`` and ``end`` of the work, and what a peer ``told`` of itself."""
    print(json.dumps({"event": event, "timestamp": datetime.now(UTC).isoformat(), **more}), flush=True)


class Stopwatch:
    """Says ``begin`` at the first event, and ``end`` with what went by in idleness before it was noticed."""

    def __init__(self) -> None:
        self._begun = False
        self._last = 0.0

    def begin(self) -> None:
        """Say it, once."""
        if not self._begun:
            self._begun = True
            say("begin")

    def touch(self) -> None:
        """Note that work was done just now."""
        self._last = time.monotonic()

    def end(self) -> None:
        """Say it; what passed since :meth:`touch` was idle."""
        say("end", idle_s=time.monotonic() - self._last if self._last else 0.0)


def projected(job: str) -> dict[str, Any]:
    """Return the event's schema with the fields that the job needs alone: what a reader's schema is for."""
    schema: dict[str, Any] = json.loads((SCHEMAS / WRITERS[job]).read_text())
    return schema | {"fields": [field for field in schema["fields"] if field["name"] in NEEDED[job]]}


def decoder(task: Task) -> Callable[[bytes], tuple[int, str, int] | None]:
    """Return a function from a value to (event time in ms, group, scaled value); None for a heartbeat.

    Amounts are scaled by 10,000, readings by 1,000,000, so that sums are exact.
    """
    import fastavro

    event, number = ("country", "amount") if task.job == "orders" else ("device_id", "value")
    scale = 10_000 if task.job == "orders" else 1_000_000
    writer = fastavro.parse_schema(json.loads((SCHEMAS / WRITERS[task.job]).read_text()))
    reader = fastavro.parse_schema(projected(task.job))
    wanted = task.schema_id.to_bytes(4, "big")

    def decode(value: bytes) -> tuple[int, str, int] | None:
        if value[1:HEADER_BYTES] != wanted:
            return None
        row: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), writer, reader)
        return round(row["occurred_at"].timestamp() * 1_000), row[event], round(row[number] * scale)

    return decode


def answer(pane_ms: int, key: str, count: int, total: int, least: int, most: int) -> bytes:
    """Return one row of the answers."""
    row = {"pane": pane_ms, "key": key, "count": count, "sum": total, "min": least, "max": most}
    return json.dumps(row).encode()
