"""The shell: records to Kafka. Idempotent, all acknowledgements; bounded memory while the broker is away."""

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice, repeat
from operator import length_hint
from typing import TYPE_CHECKING

from confluent_kafka import KafkaException, Producer
from prometheus_client import CollectorRegistry

from penstock import telemetry
from penstock.errors import GaveUpWaiting, PenstockError
from penstock.health import Health
from penstock.kafka import made, partition_counts, producer_config
from penstock.log import get_logger
from penstock.settings import Settings
from penstock.topics import Topic
from penstock.waiting import REPORT_EVERY_S, wait_for
from producers.stream import Batch
from producers.truth import TopicTruth

if TYPE_CHECKING:
    from producers.traces import Produce, Traces

QUEUE_EVENTS = 100_000
QUEUE_KBYTES = 64_000
"""The most that waits in memory, whichever is reached first."""

AWAY_AFTER_S = 5.0
"""Without an acknowledgement for so long, while events wait for one, the broker counts as away."""

STOP_GRACE_S = 5.0
"""How long a run that was asked to stop waits for what it has sent: less than a container is given to stop."""

PART = "kafka"


class Stopped(Exception):  # nothing went wrong
    """The run was asked to stop while it waited for room; what was not handed over was never sent."""


@dataclass(frozen=True)
class Limits:
    """``timeout_s``: give up when the broker acknowledges nothing for so long while events wait (None: never)."""

    timeout_s: float | None = None
    queue_events: int = QUEUE_EVENTS
    away_after_s: float = AWAY_AFTER_S


class Delivery:
    """Sends records. Use it from one thread; :meth:`tend` it at least a few times a second."""

    def __init__(  # noqa: PLR0913  # its parts
        self,
        settings: Settings,
        health: Health,
        stopping: threading.Event,
        registry: CollectorRegistry,
        limits: Limits = Limits(),
        traces: "Traces | None" = None,
    ) -> None:
        self._settings = settings
        self._health = health
        self._stopping = stopping
        self._limits = limits
        self._traces = traces
        # No timeout for a message: it waits for the broker for as long as this process lives.
        self._producer = made(
            Producer,
            producer_config(
                settings,
                client_id="penstock-producers",
                message_timeout_ms=0,
                linger_ms=10,
                queue_buffering_max_messages=limits.queue_events,
                queue_buffering_max_kbytes=QUEUE_KBYTES,
            ),
        )
        self._truths: dict[str, TopicTruth] = {}
        self._produced = telemetry.counter(telemetry.PRODUCED, registry)
        self._waiting = telemetry.gauge(telemetry.PRODUCE_WAITING, registry)
        self._counted: dict[str, int] = {}
        self._moved_at = time.monotonic()
        self._report_at = 0.0

    @property
    def waiting(self) -> int:
        """Events handed over and not acknowledged."""
        return len(self._producer)

    def open(self, topics: Iterable[Topic]) -> dict[str, TopicTruth]:
        """Wait for the broker, and return an empty truth for each topic with the partition count that the run keeps."""
        topics = list(topics)
        counts = wait_for(
            PART,
            lambda: partition_counts(self._producer, self._settings, topics),
            timeout_s=self._limits.timeout_s,
            health=self._health,
            stopping=self._stopping,
        )
        self._truths = {topic.name: TopicTruth(counts[topic.name]) for topic in topics}
        self._counted = dict.fromkeys(self._truths, 0)
        for name in self._truths:
            self._produced.labels(name)
        self._moved_at = time.monotonic()
        return self._truths

    def send(self, topic: str, batch: Batch) -> None:
        """Hand records over to the client, in order, to the topic of full name ``topic``.

        Waits while the queue is full. Raises :class:`Stopped`, :class:`GaveUpWaiting` after the timeout, and
        :class:`PenstockError` when the broker refuses a record for good.
        """
        done = 0
        if self._traces is not None:
            for position in self._traces.chosen(len(batch)):
                self._hand_over(self._producer.produce, topic, batch, done, position)
                produce = self._traces.followed(self._producer.produce, topic, batch.row(position))
                self._hand_over(produce, topic, batch, position, position + 1)
                done = position + 1
        self._hand_over(self._producer.produce, topic, batch, done, len(batch))

    def _hand_over(self, produce: "Produce", topic: str, batch: Batch, begin: int, end: int) -> None:
        while begin < end:
            partitions = batch.partitions[begin:end]
            values = iter(batch.values[begin:end])
            keys, reports = (islice(column, begin, end) for column in (batch.keys, batch.reports))
            try:
                # `map` calls the client from C: a loop in Python would cost a third more.
                deque(map(produce, repeat(topic), values, keys, partitions, reports), maxlen=0)
                return
            except BufferError:
                # The record that found no room has been taken from the iterator, but not by the client.
                begin = end - length_hint(values) - 1
                self.tend(0.1)
                if self._stopping.is_set():
                    raise Stopped from None
            except KafkaException as error:
                raise PenstockError(f"topic {topic} refuses a record: {error.args[0].str()}") from None

    def tend(self, wait_s: float) -> None:
        """Serve delivery reports for up to ``wait_s``, and look after metrics, health and the timeout."""
        self._producer.poll(wait_s)
        self._check_failures()
        now = time.monotonic()
        if self._count() or not self.waiting:
            self._moved_at, self._report_at = now, 0.0
            self._health.here(PART)
            return
        stood = now - self._moved_at
        if stood >= self._limits.away_after_s:
            self._say_away(now, stood)
        if self._limits.timeout_s is not None and stood >= self._limits.timeout_s:
            raise GaveUpWaiting(f"gave up after {stood:.0f} s: the broker acknowledges none of {self.waiting} events")

    def finish(self, grace_s: float | None) -> bool:
        """Wait until all is acknowledged, at most ``grace_s`` (None: as long as it takes); return whether it is."""
        deadline = None if grace_s is None else time.monotonic() + grace_s
        while self.waiting and (deadline is None or time.monotonic() < deadline):
            self.tend(0.1)
            if deadline is None and self._stopping.is_set():
                deadline = time.monotonic() + STOP_GRACE_S
        self._count()
        return not self.waiting

    def _count(self) -> bool:
        """Bring the metrics up to date; return whether something was acknowledged since the last time."""
        moved = False
        for name, truth in self._truths.items():
            acknowledged = truth.acknowledged
            if acknowledged > self._counted[name]:
                self._produced.labels(name).inc(acknowledged - self._counted[name])
                self._counted[name] = acknowledged
                moved = True
        self._waiting.set(self.waiting)
        return moved

    def _check_failures(self) -> None:
        for name, truth in self._truths.items():
            for (fate, kind), tally in truth.tallies.items():
                if tally.failure is not None:
                    raise PenstockError(f"topic {name} refuses {kind} ({fate}): {tally.failure.str()}")

    def _say_away(self, now: float, stood: float) -> None:
        why = f"nothing acknowledged for {stood:.0f} s, {self.waiting} events wait"
        self._health.away(PART, why)
        if now >= self._report_at:
            self._report_at = now + REPORT_EVERY_S
            get_logger("producers").warning("waiting for kafka", why=why)
