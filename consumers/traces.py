"""The views' spans: one around each batch that has sampled records, one for each that is followed, and one for each
commit of the database. Imported only by a process that traces."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from time import time_ns
from typing import Any

from opentelemetry.trace import SpanKind, get_current_span

from consumers.batches import Batch
from penstock.tracing_spans import Tracing, messaging, place


class Traces:
    """What the stage tells of what it does. ``group`` is its consumer group, ``database`` the kind of its store."""

    def __init__(self, tracing: Tracing, group: str, database: str) -> None:
        self._tracing = tracing
        self._group = group
        self._database = database

    @contextmanager
    def batch(self, topic: str, batch: Batch) -> Iterator[None]:
        """Be around the settling of a batch of the topic of full name ``topic``."""
        traced, sampled = self._tracing.traced(batch.headers)
        if not traced:
            yield
            return
        group = {"messaging.consumer.group.name": self._group}
        attributes: dict[str, str | int] = {
            "messaging.batch.message_count": len(batch.values),
            "penstock.offsets": batch.offsets,
            "penstock.sampled_events": sampled,
        }
        began_ns = time_ns()
        with self._tracing.batch("merge", topic, traced, attributes | group) as span:
            yield
            linked = [span.get_span_context()]
        for position, context in traced:
            partition, offset, _ = batch.places.row(position)
            about = messaging("merge", "process", topic) | place(partition, offset) | group
            self._tracing.begin(f"merge {topic}", SpanKind.CONSUMER, about, context, linked, began_ns).end()

    def commit(self, view: str) -> AbstractContextManager[Any]:
        """Return a span around a transaction, if it is part of a batch that has one."""
        if not get_current_span().is_recording():
            return nullcontext()
        attributes = {"db.system.name": self._database, "db.operation.name": "merge", "db.collection.name": view}
        return self._tracing.child(f"commit {view}", SpanKind.CLIENT, attributes)
