"""The processors' spans: one around each batch that has sampled events, one for each event that is followed, one for
the first result that it changed, whose record goes on in its trace. Imported only by a process that traces.

What is here looks on: it decides no fate, no order and no commit, and changes no byte of a key or a value.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import time_ns

import polars as pl
from opentelemetry.trace import Span, SpanContext, SpanKind

from penstock.avro import INDEX
from penstock.metrics import Metric
from penstock.tracing_spans import Traced, Tracing, messaging, place
from processors.fates import HEARTBEAT, PANE
from processors.fold import Records, Step
from processors.outbox import Origin, letter_key, result_key
from processors.sender import KeyedHeaders
from processors.sketches import with_sketch
from processors.stretch import Stretch

MAX_WAITING = 10_000
"""Results that may be waited for; each is sent at the latest when its pane is final."""


@dataclass
class TracedBatch:
    """A batch that is being settled, and what is followed of it."""

    topic: str
    offsets: Sequence[int]
    traced: Sequence[Traced]
    span: Span
    began_ns: int


class Traces:
    """What a worker tells of what it does. ``group`` is its consumer group."""

    def __init__(self, tracing: Tracing, group: str, metrics: Sequence[Metric]) -> None:
        self._tracing = tracing
        self._group = group
        self._metrics = metrics
        self._waiting: dict[bytes, list[SpanContext]] = {}

    @contextmanager
    def batch(self, topic: str, origin: Origin, stretch: Stretch) -> Iterator[TracedBatch | None]:
        """Be around the settling of a batch of the topic of full name ``topic``; None when nothing of it is traced."""
        results = sum(metric.topic == origin.topic for metric in self._metrics)
        traced, sampled = self._tracing.traced(stretch.headers, each=1 + results)
        if not traced:
            yield None
            return
        attributes = {
            **place(origin.partition, stretch.offsets[0]),
            "messaging.batch.message_count": len(stretch),
            "messaging.consumer.group.name": self._group,
            "penstock.offsets.end": stretch.offsets[-1] + 1,
            "penstock.sampled_events": sampled,
        }
        began_ns = time_ns()
        with self._tracing.batch("process", topic, traced, attributes) as span:
            yield TracedBatch(topic, stretch.offsets, traced, span, began_ns)

    def settled(self, batch: TracedBatch, step: Step, records: Records, origin: Origin) -> None:
        """Make the spans of the events that are followed, and wait for the results that they change."""
        fates = step.fates
        counts = {"applied": fates.applied, "duplicate": fates.duplicate, "late": fates.late, "dead": fates.dead}
        batch.span.set_attributes({f"penstock.{fate}_events": count for fate, count in counts.items()})
        refolded = len(batch.offsets) - len(records.offsets)
        for position, context in batch.traced:
            if position >= refolded:
                self._settled(batch, context, position - refolded, step, records, origin)

    def _settled(  # noqa: PLR0913  # an event and all about it
        self, batch: TracedBatch, parent: SpanContext, position: int, step: Step, records: Records, origin: Origin
    ) -> None:
        offset = records.offsets[position]
        pane = _pane(step, position)
        fate = "applied" if pane is not None else _unapplied(step, records, position)
        attributes = messaging("process", "process", batch.topic) | place(origin.partition, offset)
        attributes |= {"messaging.consumer.group.name": self._group, "penstock.fate": fate}
        linked = [batch.span.get_span_context()]
        name = f"process {batch.topic}"
        span = self._tracing.begin(name, SpanKind.CONSUMER, attributes, parent, linked, batch.began_ns)
        span.end()
        keys = [letter_key(origin, offset)] if fate in ("late", "dead") else []
        if pane is not None:
            keys = list(self._results(records, position, pane, origin))
        for key in keys:
            if key in self._waiting or len(self._waiting) < MAX_WAITING:
                self._waiting.setdefault(key, []).append(span.get_span_context())

    def _results(self, records: Records, position: int, pane: int, origin: Origin) -> Iterator[bytes]:
        """Yield the key of one result of each metric that the event enters."""
        decoded = records.decoded
        for metric in self._metrics:
            if metric.topic != origin.topic:
                continue
            for source in dict.fromkeys(measure.source for measure in metric.measures):
                if source == "*":
                    yield result_key(metric, pane, origin.partition, ())
                    break
                rows, parents = decoded.records.get(source.split(".")[0]), decoded.items.get(source)
                if rows is None or (at := _row(rows, position)) is None:
                    continue
                item = None if parents is None else _row(parents, position)
                of_item = {} if parents is None or item is None else parents.row(item, named=True)
                if "." in source and not of_item:
                    continue
                sketched = with_sketch(metric, rows[at : at + 1])
                if sketched.is_empty():
                    break
                group = sketched.row(0, named=True) | of_item
                yield result_key(metric, pane, origin.partition, [str(group[name]) for name in metric.group])
                break

    def headers(self, topic: str, messages: Sequence[tuple[bytes, bytes]]) -> KeyedHeaders:
        """Return the headers of those of ``messages`` that were waited for, and make the spans of their sending.

        A result goes on in the trace of the first event that changed it, and links to the others.
        """
        if not self._waiting:
            return {}
        found = {}
        for key in self._waiting.keys() & {key for key, _ in messages}:
            first, *others = self._waiting.pop(key)
            attributes = messaging("send", "send", topic) | {"messaging.kafka.message.key": key.decode()}
            span = self._tracing.begin(f"send {topic}", SpanKind.PRODUCER, attributes, first, others)
            span.end()
            found[key] = self._tracing.headers(span.get_span_context())
        return found

    def forget(self) -> None:
        """Wait for nothing any more: whoever owns the partitions next sends what was not sent."""
        self._waiting.clear()


def _row(rows: pl.DataFrame, position: int) -> int | None:
    """Return the first row of a record, by its position in the batch, in a frame whose index ascends."""
    index = rows[INDEX]
    at = bisect_left(index, position)  # a query of Polars costs ten times as much
    return at if at < len(index) and index[at] == position else None


def _pane(step: Step, position: int) -> int | None:
    """Return the pane of an event that was applied."""
    at = None if step.applied is None else _row(step.applied, position)
    return None if at is None or step.applied is None else int(step.applied[PANE][at])


def _unapplied(step: Step, records: Records, position: int) -> str:
    dead = [rejection.position for rejection in step.dead]
    at = bisect_left(dead, position)
    if at < len(dead) and dead[at] == position:
        return "dead"
    if step.late is not None and _row(step.late, position) is not None:
        return "late"
    beats = records.decoded.records.get(HEARTBEAT)
    return "duplicate" if beats is None or _row(beats, position) is None else "control"
