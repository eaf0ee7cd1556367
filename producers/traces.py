"""The producers' spans: one for each event that is chosen to begin a trace, from the hand-over to the acknowledgement.

Imported only by a process that traces.
"""

import random
from collections.abc import Callable
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from penstock.tracing_spans import Tracing, gaps, messaging, place
from producers.stream import Outgoing

Produce = Callable[..., None]
"""The client's ``produce(topic, value, key, partition, on_delivery)``."""


class Traces:
    """Chooses events by chance, ahead of time, so that those in between cost nothing. ``uniform`` is from [0, 1)."""

    def __init__(self, tracing: Tracing, uniform: Callable[[], float] = random.random) -> None:
        self._tracing = tracing
        self._gaps = gaps(tracing.rate, uniform)
        self._next = next(self._gaps, None)

    def chosen(self, count: int) -> list[int]:
        """Return which of the next ``count`` events begin a trace, by position; fewer when the budget is spent."""
        found: list[int] = []
        if self._next is None:
            return found
        while self._next < count:
            found.append(self._next)
            self._next += 1 + next(self._gaps)
        self._next -= count
        return found[: self._tracing.budget.take(len(found))] if found else found

    def followed(self, produce: Produce, topic: str, record: Outgoing) -> Produce:
        """Return ``produce`` for this one record: with the trace's context in the headers, and an end of the span."""
        attributes = messaging("send", "send", topic)
        attributes["messaging.destination.partition.id"] = str(record.partition)
        if record.key is not None:
            attributes["messaging.kafka.message.key"] = record.key.decode()
        span = self._tracing.begin(f"send {topic}", SpanKind.PRODUCER, attributes)
        headers = self._tracing.headers(span.get_span_context())

        def produce_it(topic: str, value: bytes, key: str | None, partition: int, delivered: Produce) -> None:
            def acknowledged(error: Any, message: Any) -> None:
                delivered(error, message)
                if error is None:
                    span.set_attributes(place(message.partition(), message.offset()))
                else:
                    span.set_status(StatusCode.ERROR, error.str())
                span.end()

            produce(topic, value, key, partition, acknowledged, headers=headers)

        return produce_it
