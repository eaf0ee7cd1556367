"""The operational metrics of this stage."""

import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry

from consumers.batches import Batch
from consumers.freshness import PROBE, Freshness
from consumers.materializer import AHEAD, Staged
from consumers.view_files import View
from penstock import telemetry
from penstock.topics import SOURCES

STAGE = "consumers"

REASONS = (
    "no-value", "too-large", "not-avro", "unknown-schema", "malformed", "bad-text", "out-of-range", "not-a-number",
)  # fmt: skip
"""Why the codec rejects a record."""

BATCH_BUCKETS = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 50_000, 100_000)


class Meters:
    """Counters and gauges of a running stage; all label sets exist from the start. Times are of ``time.time()``."""

    def __init__(self, registry: CollectorRegistry, views: Iterable[View]) -> None:
        self._rows = telemetry.counter(telemetry.VIEW_ROWS, registry)
        self._skipped = telemetry.counter(telemetry.VIEW_SKIPPED, registry)
        self._fenced = telemetry.counter(telemetry.VIEW_FENCED, registry)
        self._latency = telemetry.histogram(telemetry.END_TO_END, registry)
        self._batch_events = telemetry.histogram(telemetry.BATCH_EVENTS, registry, BATCH_BUCKETS).labels(STAGE)
        self._batch_seconds = telemetry.histogram(telemetry.BATCH_SECONDS, registry).labels(STAGE)
        self._lag_events = telemetry.gauge(telemetry.LAG_EVENTS, registry)
        self._lag_seconds = telemetry.gauge(telemetry.LAG_SECONDS, registry)
        self._next_offset = telemetry.gauge(telemetry.NEXT_OFFSET, registry)
        self._committed_at = time.time()
        telemetry.gauge(telemetry.COMMIT_AGE, registry).labels(STAGE).set_function(
            lambda: time.time() - self._committed_at
        )
        telemetry.build_info(STAGE, registry)
        views = tuple(views)
        self._freshness = Freshness(tuple(topic.name for topic in SOURCES))
        if any(PROBE in view.merges for view in views):
            registry.register(self._freshness)
        for view in views:
            self._rows.labels(view.name)
            self._fenced.labels(view.name)
            self._latency.labels(view.name)
            for reason in (*REASONS, AHEAD):
                self._skipped.labels(view.name, reason)

    def merged(self, view: View, batch: Batch, staged: Staged) -> None:
        """Count what was just committed."""
        self._committed_at = time.time()
        self._rows.labels(view.name).inc(staged.records)
        for reason, count in staged.skipped.items():
            self._skipped.labels(view.name, reason).inc(count)
        self._latency.labels(view.name).observe(max(0.0, self._committed_at - batch.newest_ms / 1000))
        for rule, rows in staged.rows:
            if rule.record == PROBE:
                for topic, partition, sent_at in rows[["source_topic", "source_partition", "sent_at"]].iter_rows():
                    self._freshness.passed(topic, partition, sent_at / 1000)

    def fenced(self, view: View) -> None:
        """Count a batch that was rolled back."""
        self._fenced.labels(view.name).inc()

    def batch(self, batch: Batch, seconds: float) -> None:
        """Count a batch that is in all of its views."""
        self._batch_events.observe(len(batch.values))
        self._batch_seconds.observe(seconds)

    def lag(self, topic: str, partition: int, next_offset: int, events: int, seconds: float) -> None:
        """Say how far a partition is, and how far behind."""
        self._next_offset.labels(STAGE, topic, partition).set(next_offset)
        self._lag_events.labels(STAGE, topic, partition).set(events)
        self._lag_seconds.labels(STAGE, topic, partition).set(seconds)

    def forget_lag(self) -> None:
        """Say nothing of partitions that are no longer ours."""
        self._freshness.forget()
        self._next_offset.clear()
        self._lag_events.clear()
        self._lag_seconds.clear()


class LagClock:
    """How old the oldest record is that is not merged, as well as that can be known without reading it.

    It is younger than the newest merged record of its partition, and than the last moment without lag.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, int], float] = {}

    def merged(self, batch: Batch) -> None:
        """Note the append times of a batch that is merged."""
        newest = batch.places.group_by("partition").max()
        for partition, appended_ms in newest.select("partition", "appended_at").iter_rows():
            self._since[batch.topic.name, partition] = appended_ms / 1000

    def seconds(self, topic: str, partition: int, events: int, now: float) -> float:
        """Return the lag in seconds of a partition that is ``events`` behind."""
        if events <= 0:
            self._since[topic, partition] = now
            return 0.0
        return max(0.0, now - self._since.setdefault((topic, partition), now))
