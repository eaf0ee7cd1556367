"""What the processors tell Prometheus. All label sets of a partition are made when it is assigned."""

import time
from dataclasses import asdict

from prometheus_client import CollectorRegistry

from penstock import telemetry
from penstock.frontier import Frontier
from penstock.metrics import METRICS
from penstock.pipeline import NO_TIME, watermark
from processors.fold import PartitionFold, Step
from processors.outbox import Origin

FATES = ("applied", "duplicate", "late", "dead", "control")
STAGE = "processors"
_BATCH_SIZES = (1.0, 10.0, 100.0, 1_000.0, 5_000.0, 20_000.0, 100_000.0)


class Gauges:
    """The operational metrics of this stage."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._events = telemetry.counter(telemetry.EVENTS, registry)
        self._books = telemetry.gauge(telemetry.BOOKS_EVENTS, registry)
        self._imbalance = telemetry.gauge(telemetry.IMBALANCE, registry)
        self._dead = telemetry.counter(telemetry.DEAD_LETTERS, registry)
        self._lag_events = telemetry.gauge(telemetry.LAG_EVENTS, registry)
        self._lag_seconds = telemetry.gauge(telemetry.LAG_SECONDS, registry)
        self._next_offset = telemetry.gauge(telemetry.NEXT_OFFSET, registry)
        self._watermark_delay = telemetry.gauge(telemetry.WATERMARK_DELAY, registry)
        self._open_panes = telemetry.gauge(telemetry.OPEN_PANES, registry)
        self._refolded = telemetry.gauge(telemetry.REFOLDED, registry)
        self._sent = telemetry.counter(telemetry.RESULTS_SENT, registry)
        self._batch_events = telemetry.histogram(telemetry.BATCH_EVENTS, registry, _BATCH_SIZES).labels(STAGE)
        self._batch_seconds = telemetry.histogram(telemetry.BATCH_SECONDS, registry).labels(STAGE)
        self._committed_at = time.time()
        commit_age = telemetry.gauge(telemetry.COMMIT_AGE, registry).labels(STAGE)
        commit_age.set_function(lambda: time.time() - self._committed_at)
        for metric in METRICS:
            for final in ("true", "false"):
                self._sent.labels(metric.results, final)
        telemetry.build_info(STAGE, registry)

    def assigned(self, topic: str, partition: int, frontier: Frontier, read_from: int) -> None:
        """Begin to show a partition."""
        labels = (topic, str(partition))
        for fate in FATES:
            self._events.labels(*labels, fate)
        self._refolded.labels(*labels).set(frontier.position - read_from)
        self._lag_events.labels(STAGE, *labels).set(0)
        self._lag_seconds.labels(STAGE, *labels).set_function(lambda: 0.0)
        self._show(labels, frontier, 0)

    def revoked(self, topic: str, partition: int) -> None:
        """Stop showing what only the owner of a partition knows."""
        labels = (topic, str(partition))
        for fate in FATES:
            self._books.remove(*labels, fate)
        for gauge in (self._imbalance, self._watermark_delay, self._open_panes, self._refolded):
            gauge.remove(*labels)
        for gauge in (self._lag_events, self._lag_seconds, self._next_offset):
            gauge.remove(STAGE, *labels)

    def step(self, origin: Origin, step: Step) -> None:
        """Count what a step settled."""
        for fate, count in asdict(step.fates).items():
            self._events.labels(origin.topic, str(origin.partition), fate).inc(count)
        for rejection in step.dead:
            self._dead.labels(origin.topic, rejection.reason).inc()
        for metric, rows in step.final:
            self.sent(metric.results, len(rows), final=True)

    def sent(self, results: str, rows: int, *, final: bool) -> None:
        """Count result rows handed to the broker's client."""
        self._sent.labels(results, str(final).lower()).inc(rows)

    def batch(self, origin: Origin, fold: PartitionFold, events: int, seconds: float) -> None:
        """Note a batch, and show the books behind it."""
        self._batch_events.observe(events)
        self._batch_seconds.observe(seconds)
        self._show((origin.topic, str(origin.partition)), fold.frontier, fold.open_panes)

    def lag(self, origin: Origin, events: int, last_appended_ms: int) -> None:
        """Show how far the fold is behind the log."""
        labels = (STAGE, origin.topic, str(origin.partition))
        self._lag_events.labels(*labels).set(events)
        since = last_appended_ms / 1000 if events else None
        self._lag_seconds.labels(*labels).set_function(lambda: 0.0 if since is None else max(time.time() - since, 0.0))

    def committed(self) -> None:
        """Note a commit."""
        self._committed_at = time.time()

    def _show(self, labels: tuple[str, str], frontier: Frontier, open_panes: int) -> None:
        for fate, count in asdict(frontier.fates).items():
            self._books.labels(*labels, fate).set(count)
        self._imbalance.labels(*labels).set(frontier.imbalance)
        self._next_offset.labels(STAGE, *labels).set(frontier.position)
        self._open_panes.labels(*labels).set(open_panes)
        if frontier.newest_ms != NO_TIME:
            newest_s = watermark(frontier.newest_ms) / 1000
            self._watermark_delay.labels(*labels).set_function(lambda: time.time() - newest_s)
