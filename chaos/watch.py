"""How far the pipeline is, asked of the broker and of the database, not of the stages, which are dead at times."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import psycopg
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # re-exported unsaid

from penstock.frontier import Frontier
from penstock.settings import load_settings
from penstock.topics import SOURCES, TOPICS, group_id
from testbed.pipeline import Pipeline

Side = Literal["producers", "processors", "consumers"]
Place = tuple[str, int]
"""A topic by its full name, and a partition."""

Offsets = Mapping[Place, int]

EVERY_S = 0.2
TIMEOUT_S = 5.0
PARTITIONS_FOR_S = 3.0


class Away(Exception):
    """The broker or the database does not answer now."""


class Gauge:
    """Reads positions. For one thread; ends it with :meth:`close`."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._settings = load_settings(topic_prefix=pipeline.prefix)
        servers = pipeline.parts.bootstrap_servers
        group = group_id(self._settings, "processors")
        self._looker = Consumer({"bootstrap.servers": servers, "log_level": 0, "group.id": group})
        self._admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        self._sources = {topic.full_name(self._settings) for topic in SOURCES}
        self._full_names = {topic.name: topic.full_name(self._settings) for topic in TOPICS}
        self._places: list[Place] = []
        self._places_at = -PARTITIONS_FOR_S

    def close(self) -> None:
        """Leave the broker."""
        self._looker.close()

    def ends(self, *, sources_only: bool = False) -> dict[Place, int]:
        """Return the ends of the logs. Raises :class:`Away`."""
        chosen = self._of_sources() if sources_only else self._known_places()
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = self._admin.list_offsets(
            {TopicPartition(*place): latest for place in chosen}, request_timeout=TIMEOUT_S
        )
        try:
            return {(place.topic, place.partition): future.result().offset for place, future in asked.items()}
        except KafkaException as error:
            raise Away(str(error)) from None

    def frontiers(self) -> dict[Place, Frontier]:
        """Return what the processors have committed. Raises :class:`Away`."""
        places = [TopicPartition(*place) for place in self._of_sources()]
        try:
            found = self._looker.committed(places, timeout=TIMEOUT_S)
        except KafkaException as error:
            raise Away(str(error)) from None
        if failed := [place.error for place in found if place.error]:
            raise Away(str(failed[0]))
        return {(p.topic, p.partition): Frontier.decode(p.metadata or "") for p in found if p.offset >= 0}

    def folded(self) -> dict[Place, int]:
        """Return ``P`` by source partition. Raises :class:`Away`."""
        return {place: frontier.position for place, frontier in self.frontiers().items()}

    def merged(self) -> dict[Place, int]:
        """Return, for all that views read, the next offset of the slowest view. Raises :class:`Away`."""
        try:
            rows = self._pipeline.rows("SELECT topic, partition, min(next) FROM offsets GROUP BY topic, partition")
        except (sqlite3.Error, psycopg.Error) as error:
            raise Away(str(error)) from None
        return {(self._full_names[topic], partition): next_ for topic, partition, next_ in rows}

    def is_source(self, place: Place) -> bool:
        """Say if it is a partition of a topic that producers write."""
        return place[0] in self._sources

    def _of_sources(self) -> list[Place]:
        return [place for place in self._known_places() if self.is_source(place)]

    def _known_places(self) -> list[Place]:
        """Return all partitions of our topics; looks for new ones every few seconds."""
        if time.monotonic() - self._places_at > PARTITIONS_FOR_S:
            try:
                seen = self._admin.list_topics(timeout=TIMEOUT_S).topics
            except KafkaException as error:
                raise Away(str(error)) from None
            self._places = [
                (name, number) for name in self._full_names.values() if name in seen for number in seen[name].partitions
            ]
            self._places_at = time.monotonic()
        return self._places


@dataclass
class Mark:
    """What the logs held when something happened, and how long it took until all of that was settled."""

    what: str
    side: Side
    at: float
    needed: Offsets
    took_s: float | None = None


def reached(needed: Offsets, now: Offsets) -> bool:
    """Say if each position is at or past what is needed."""
    return all(now.get(place, 0) >= offset for place, offset in needed.items())


class Watch:
    """Looks at the positions all the time, and notes when what was marked is settled."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._mine = Gauge(pipeline)
        self._lock = threading.Lock()
        self._open: list[Mark] = []
        self._last_ends: dict[Place, int] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop looking."""
        self._stopping.set()
        self._thread.join(timeout=30.0)
        self._mine.close()

    @property
    def gauge(self) -> Gauge:
        """For questions of the thread that made this."""
        return self._mine

    def mark(self, what: str, sides: Iterable[Side], at: float | None = None) -> list[Mark]:
        """Note what is to be settled by ``sides``: what the log holds now; if it is away, what it held when last asked.

        ``at`` is when it happened, if not now.
        """
        at = time.monotonic() if at is None else at
        with suppress(Away):
            ends = self._mine.ends()
            with self._lock:
                self._last_ends = ends
        marks = [Mark(what, side, at, self._needed(side)) for side in sides]
        with self._lock:
            self._open += marks
        return marks

    def _needed(self, side: Side) -> Offsets:
        if side == "consumers":
            return self._last_ends
        ends = {place: end for place, end in self._last_ends.items() if self._mine.is_source(place)}
        return {("", 0): sum(ends.values()) + 1} if side == "producers" else ends

    def _run(self) -> None:
        gauge = Gauge(self._pipeline)
        try:
            while not self._stopping.wait(EVERY_S):
                with self._lock:
                    sides = {mark.side for mark in self._open}
                for side in sides:
                    with suppress(Away):
                        self._look(side, gauge)
        finally:
            gauge.close()

    def _look(self, side: Side, gauge: Gauge) -> None:
        now: Offsets
        if side == "producers":
            now = {("", 0): sum(gauge.ends(sources_only=True).values())}
        else:
            now = gauge.folded() if side == "processors" else gauge.merged()
        at = time.monotonic()
        with self._lock:
            for mark in [mark for mark in self._open if mark.side == side and reached(mark.needed, now)]:
                mark.took_s = at - mark.at
                self._open.remove(mark)
