"""How old what the views show is: the age of the newest probe of each source partition, looked at once a second.

A probe is a heartbeat that says when it was sent. The processors pass it on behind the results of all before it, and
the view ``freshness`` merges it; from that commit on the views are as fresh as the probe. Looking once a second, rather
than at each probe, makes time the measure: if nothing comes through, the age grows and each second counts.
"""

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock import telemetry

PROBE = "ProbePassed"
"""The record that carries a probe."""

LIVE_WITHIN_S = 300.0
"""A partition counts from its first probe on that is no older: what is read before is history, of a view that is
built from the log, not what somebody was shown."""

LOOK_EVERY_S = 1.0
MAX_LOOKS = 3_600
"""The most that is made up for at once, of a process that was not scraped, or was suspended."""


class Freshness(Collector):
    """Collects ``penstock_freshness_seconds`` and ``penstock_freshness_probe_age_seconds``. Safe for threads.

    Times are seconds of ``clock``, a wall clock. The looks that are due are made up for when something asks.
    """

    def __init__(self, topics: tuple[str, ...], clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._newest: dict[tuple[str, str], float] = {}
        self._next_look = clock()
        self._looks = telemetry.histogram(telemetry.FRESHNESS, CollectorRegistry())
        for topic in topics:
            self._looks.labels(topic)

    def passed(self, topic: str, partition: int, sent_at_s: float) -> None:
        """Note that the views have a probe that was sent at ``sent_at_s``."""
        place = (topic, str(partition))
        with self._lock:
            now = self._clock()
            self._look(now)
            known = self._newest.get(place)
            if known is not None or now - sent_at_s <= LIVE_WITHIN_S:
                self._newest[place] = sent_at_s if known is None else max(known, sent_at_s)

    def forget(self) -> None:
        """Say nothing more of any partition until its next probe: somebody else may read them now."""
        with self._lock:
            self._look(self._clock())
            self._newest.clear()

    def describe(self) -> Iterator[Metric]:
        """Name the metrics."""
        yield from self._looks.describe()
        yield self._ages({}, 0.0)

    def collect(self) -> Iterator[Metric]:
        """Return the metrics as of now."""
        with self._lock:
            now = self._clock()
            self._look(now)
            newest = dict(self._newest)
        yield from self._looks.collect()
        yield self._ages(newest, now)

    def _look(self, now: float) -> None:
        behind = now - self._next_look
        if not -LOOK_EVERY_S <= behind <= MAX_LOOKS * LOOK_EVERY_S:  # it slept for long, or the clock was set
            self._next_look = now - min(max(behind, 0.0), MAX_LOOKS * LOOK_EVERY_S)
        while self._next_look <= now:
            for (topic, _), sent_at_s in self._newest.items():
                self._looks.labels(topic).observe(max(self._next_look - sent_at_s, 0.0))
            self._next_look += LOOK_EVERY_S

    @staticmethod
    def _ages(newest: dict[tuple[str, str], float], now: float) -> GaugeMetricFamily:
        declared = telemetry.PROBE_AGE
        family = GaugeMetricFamily(declared.name, declared.help, labels=declared.labels)
        for place, sent_at_s in newest.items():
            family.add_metric(place, max(now - sent_at_s, 0.0))
        return family
