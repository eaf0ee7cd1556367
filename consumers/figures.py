"""Figures for Prometheus: gauges, read from the views when it scrapes, so right again after any restart.

Business figures, and the views' side of the books.
"""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.stores import Store
from consumers.view_files import Figure, View, render
from penstock.errors import PenstockError, Unavailable
from penstock.log import get_logger

REST_FACTOR = 20
"""A figure is read again when at least this many times the time has passed that reading it took."""

AWAY_REST_S = 30.0
"""How long no figure is read after the database did not answer: the other metrics must not wait for it."""

MAX_LABEL = 100
"""Longer texts are cut: a label is for people."""


class Figures(Collector):
    """Collects the figures that the files of ``views`` declare, and ``more``. Has a database connection of its own.

    A figure that can't be read now is left out of the answer; the scrape goes on. ``live`` may say at each time
    which table version of a view is read; else that is ``version``.
    """

    def __init__(
        self,
        store: Store,
        views: Iterable[View],
        version: int,
        more: Iterable[Figure] = (),
        live: Mapping[str, int] | None = None,
    ) -> None:
        self._store, self._version = store, version
        self._live: Mapping[str, int] = {} if live is None else live
        self._figures: list[tuple[Figure, View | None]] = [
            *((figure, view) for view in views for figure in view.figures), *((figure, None) for figure in more)
        ]  # fmt: skip
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, Metric]] = {}
        """By SQL: until when a metric need not be read again."""
        self._away_until = 0.0

    def describe(self) -> Iterator[Metric]:
        """Name the figures, without reading any."""
        yield from self._families().values()

    def _families(self) -> dict[str, GaugeMetricFamily]:
        return {
            figure.name: GaugeMetricFamily(figure.name, figure.help, labels=figure.labels)
            for figure, _ in self._figures
        }

    def collect(self) -> Iterator[Metric]:
        """Read the figures; those that are slow to read, not each time."""
        found = self._families()
        with self._lock:
            for figure, view in self._figures:
                metric = self._current(figure, self._sql(figure, view))
                if metric is None:
                    found.pop(figure.name, None)  # a part of it would be taken for all of it
                elif figure.name in found:
                    found[figure.name].samples.extend(metric.samples)
        yield from found.values()

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._store.close()

    def _sql(self, figure: Figure, view: View | None) -> str:
        if view is None:
            return figure.sql
        return render(figure.sql, view, self._live.get(view.name, self._version), self._store.dialect)

    def _current(self, figure: Figure, sql: str) -> Metric | None:
        began = time.monotonic()
        until, metric = self._known.get(sql, (began, None))
        if metric is not None and began < until:
            return metric
        if began < self._away_until:
            return None
        try:
            with self._store.snapshot() as transaction:
                rows = transaction.fetch(sql)
        except PenstockError as error:
            get_logger("consumers").warning("a figure can't be read", figure=figure.name, why=str(error))
            if isinstance(error, Unavailable):
                self._away_until = time.monotonic() + AWAY_REST_S
            return None
        metric = GaugeMetricFamily(figure.name, figure.help, labels=figure.labels)
        for row in rows:
            metric.add_metric([str(label)[:MAX_LABEL] for label in row[:-1]], float(row[-1]))
        ended = time.monotonic()
        self._known[sql] = (ended + REST_FACTOR * (ended - began), metric)
        return metric
