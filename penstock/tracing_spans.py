"""What the stages share of tracing: contexts in Kafka headers, spans by OpenTelemetry's messaging conventions, a limit.

Only what the producers chose is followed, and never more than so many spans a second: a span costs about as much as
twenty events. Where there are more, those with the smallest trace ids are followed, so that the stages choose alike.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import compress, islice
from typing import NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from penstock.letters import Headers

TRACEPARENT = "traceparent"
"""The header of W3C trace context, as ASCII; ``tracestate`` may stand beside it."""

LOOKED_AT = 2_000
"""How many records of a batch that have headers are looked at: other applications may give them to every record."""

MAX_LINKS = 32
"""How many links a span gets at most."""

_TRACEPARENT_BYTES = 55
_SAMPLED = frozenset(b"13579bdf")

Attributes = Mapping[str, str | int]


class Traced(NamedTuple):
    """A sampled record: its position in the batch, and the span behind it."""

    position: int
    context: SpanContext


class Budget:
    """Spans that may be made: ``per_second`` on average, a second's worth at once. For one thread."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._clock = clock
        self._at = clock()
        self._left = float(per_second)

    def left(self) -> int:
        """Return how many spans may be made now."""
        now = self._clock()
        self._left = min(self._left + (now - self._at) * self._per_second, float(self._per_second))
        self._at = now
        return int(self._left)

    def take(self, wanted: int, each: int = 1) -> int:
        """Return how many of ``wanted`` things, of ``each`` spans, may be followed now, and count their spans."""
        taken = min(wanted, max(self.left(), 0) // each)
        self._left -= taken * each
        return taken

    def count(self, spans: int) -> None:
        """Count spans that are made in any case."""
        self._left -= spans


class Tracing:
    """Makes the spans of a process. ``rate`` is the share of events that begin a trace. For one thread."""

    def __init__(self, tracer: Tracer, rate: float, budget: Budget) -> None:
        self.rate = rate
        self.budget = budget
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    def traced(self, headers: Sequence[Headers | None], each: int = 1) -> tuple[list[Traced], int]:
        """Return those sampled records of a batch that are followed, and how many are sampled (of those looked at).

        ``each`` is how many spans following one takes. Where any is followed the batch's own span is counted as well.
        Costs next to nothing where no record has headers, or when the budget is spent.
        """
        found: list[tuple[bytes, int]] = []
        if self.budget.left() < each:
            return [], 0
        for position in islice(compress(range(len(headers)), headers), LOOKED_AT):
            for name, value in headers[position] or ():
                if name == TRACEPARENT and value and len(value) == _TRACEPARENT_BYTES and value[-1] in _SAMPLED:
                    found.append((value, position))
        if not found:
            return [], 0
        self.budget.count(1)
        chosen = sorted(found)[: self.budget.take(min(len(found), MAX_LINKS), each)]
        contexts = ((position, self._context(headers[position] or [])) for _, position in chosen)
        return [Traced(position, context) for position, context in contexts if context.is_valid], len(found)

    def _context(self, headers: Headers) -> SpanContext:
        carrier = {name: value.decode("ascii", "replace") for name, value in headers if value is not None}
        return get_current_span(self._propagator.extract(carrier, Context())).get_span_context()

    def headers(self, context: SpanContext) -> list[tuple[str, bytes]]:
        """Return the headers that make the receiver's spans children of ``context``."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, _inside(context))
        return [(name, value.encode()) for name, value in carrier.items()]

    def begin(  # noqa: PLR0913  # all that a span is
        self,
        name: str,
        kind: SpanKind,
        attributes: Attributes,
        parent: SpanContext | None = None,
        linked: Sequence[SpanContext] = (),
        start_ns: int | None = None,
    ) -> Span:
        """Begin a span, a child of ``parent`` or a trace of its own; the caller ends it. Counts no budget."""
        return self._tracer.start_span(
            name,
            Context() if parent is None else _inside(parent),
            kind,
            attributes,
            [Link(context) for context in linked[:MAX_LINKS]],
            start_ns,
        )

    def batch(
        self, operation: str, topic: str, traced: Sequence[Traced], attributes: Attributes
    ) -> AbstractContextManager[Span]:
        """Return a span around the settling of a batch: a trace of its own, linked to what is followed of it."""
        return self._tracer.start_as_current_span(
            f"{operation} batch {topic}",
            Context(),
            SpanKind.CONSUMER,
            {**messaging(operation, "process", topic), **attributes},
            [Link(context) for _, context in traced],
        )

    def child(self, name: str, kind: SpanKind, attributes: Attributes) -> AbstractContextManager[Span]:
        """Return a span around a part of what the current span is around."""
        return self._tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def messaging(operation: str, kind: str, topic: str) -> dict[str, str | int]:
    """Return the attributes that all spans about Kafka have; ``kind`` is ``send`` or ``process``."""
    return {
        "messaging.system": "kafka",
        "messaging.operation.name": operation,
        "messaging.operation.type": kind,
        "messaging.destination.name": topic,
    }


def place(partition: int, offset: int) -> dict[str, str | int]:
    """Return the attributes that name a record."""
    return {"messaging.destination.partition.id": str(partition), "messaging.kafka.offset": offset}


def gaps(rate: float, uniform: Callable[[], float]) -> Iterator[int]:
    """Yield how many events to pass over before each that is chosen, so that each is with probability ``rate``.

    The gaps of independent choices are geometric: a choice costs one logarithm, an event that is passed over nothing.
    """
    from math import log, log1p

    if rate <= 0:
        return
    while True:
        yield 0 if rate >= 1 else int(log(1.0 - uniform()) / log1p(-rate))


def _inside(context: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(context), Context())
