"""A run of a producer: sources through their streams to Kafka, paced by the clock or as fast as it goes."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from producers.delivery import STOP_GRACE_S, Delivery, Stopped
from producers.rows import NO_ROWS
from producers.sources import Source
from producers.stream import Stream

CHUNK_EVENTS = 8_192
"""How many events are made and handed over at a time, at most."""

PACE_S = 0.02
"""How often a paced run looks at the clock."""

STALL_MS = 2_000
"""A run that stood still for longer (no room, a suspended machine) goes on from now, not from then."""

Clock = Callable[[], int]


def wall_clock() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass
class Feed:
    """One topic (by full name) of a run."""

    topic: str
    source: Source
    stream: Stream
    opens_at: int | None = None
    """The time of the heartbeats that open the run; None: without."""


def run(
    feeds: Sequence[Feed],
    delivery: Delivery,
    stopping: threading.Event,
    *,
    clock: Clock | None,
    close: bool,
) -> bool:
    """Send all that ``feeds`` have, and return whether all of it was acknowledged.

    With a ``clock``, events go out when it reaches their times; without, as fast as it goes. Ends when all sources are
    finished or ``stopping`` is set; then sends what is held back and, with ``close``, the closing heartbeats.
    """
    try:
        for feed in feeds:
            if feed.opens_at is not None:
                delivery.send(feed.topic, feed.stream.advance(NO_ROWS, feed.opens_at))
        if clock is None:
            _run_fast(feeds, delivery, stopping)
        else:
            _run_paced(feeds, delivery, stopping, clock)
        for feed in feeds:
            delivery.send(feed.topic, feed.stream.close(final=close))
    except Stopped:
        pass  # the broker is away: what it did not acknowledge is told by the truth
    return delivery.finish(STOP_GRACE_S if stopping.is_set() else None)


def _run_fast(feeds: Sequence[Feed], delivery: Delivery, stopping: threading.Event) -> None:
    while not stopping.is_set() and not all(feed.source.finished for feed in feeds):
        for feed in feeds:
            rows = feed.source.take(None, CHUNK_EVENTS)
            if len(rows):
                delivery.send(feed.topic, feed.stream.advance(rows, int(rows.times[-1])))
        delivery.tend(0)


def _run_paced(feeds: Sequence[Feed], delivery: Delivery, stopping: threading.Event, clock: Clock) -> None:
    last = clock()
    while not stopping.is_set() and not all(feed.source.finished for feed in feeds):
        now = max(clock(), last)
        if now - last > STALL_MS:
            for feed in feeds:
                feed.source.delay(now - last)
        last = now
        for feed in feeds:
            _advance(feed, now, delivery, stopping)
        delivery.tend(PACE_S)


def _advance(feed: Feed, now: int, delivery: Delivery, stopping: threading.Event) -> None:
    """Send what is due by ``now``: heartbeats only once nothing more is."""
    while not stopping.is_set():
        rows = feed.source.take(now, CHUNK_EVENTS)
        whole = len(rows) < CHUNK_EVENTS
        delivery.send(feed.topic, feed.stream.advance(rows, now if whole else int(rows.times[-1])))
        if whole:
            return
        delivery.tend(0)
