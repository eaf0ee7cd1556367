"""Where a run's events come from, by its clock: a model on a schedule, or a history. Pure."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Protocol

import numpy as np

from producers.events import Event, Ints, Workload
from producers.rows import NO_ROWS, Encoders, Rows

AHEAD_MS, AHEAD_EVENTS = 1_000, 4_096
"""How far ahead of its time a model makes events: a call for a few at a time costs as much as one for many."""

_NEVER = np.empty(0, np.int64)


class Source(Protocol):
    """Events in event-time order."""

    @property
    def finished(self) -> bool:
        """Whether no more will come."""

    @property
    def expected(self) -> int | None:
        """How many there will be in all; None where nobody knows."""

    def take(self, until: int | None, limit: int) -> Rows:
        """Return the next events, with times up to ``until`` (None: however late), at most ``limit``."""

    def delay(self, by_ms: int) -> None:
        """Move all events that are still to come: the run stood still for so long."""


class Schedule:
    """Evenly spaced times: ``per_second`` of them from ``start`` on, ``count`` in all, none at or after ``end``."""

    def __init__(self, start: int, per_second: float, count: int | None = None, end: int | None = None) -> None:
        self._start = start
        self._step = 1_000 / per_second
        self._next = 0
        self._count = count
        self._end = end

    def at(self, number: int) -> int:
        """Return the time of event ``number``."""
        return self._start + int(number * self._step)

    @property
    def finished(self) -> bool:
        """Whether there are no more times."""
        if self._count is not None and self._next >= self._count:
            return True
        return self._end is not None and self.at(self._next) >= self._end

    @property
    def expected(self) -> int | None:
        """How many times there are in all; None: they never end."""
        stops = [stop for stop in (self._count, self._stop_at_end()) if stop is not None]
        return min(stops, default=None)

    def _stop_at_end(self) -> int | None:
        return None if self._end is None else max(ceil((self._end - self._start) / self._step), 0)

    def take(self, until: int | None, limit: int) -> Ints:
        """Return the next times, up to ``until``, at most ``limit``."""
        if until is not None and self.at(self._next) > until:
            return _NEVER  # most calls of a slow run end here
        stop = self._next + limit
        expected = self.expected
        if expected is not None:
            stop = min(stop, expected)
        if until is not None:
            stop = min(stop, floor((until + 1 - self._start) / self._step) + 1)
        times = self._start + (np.arange(self._next, stop) * self._step).astype(np.int64)
        if until is not None:
            times = times[: times.searchsorted(until, side="right")]
        self._next += len(times)
        return times

    def delay(self, by_ms: int) -> None:
        """Move the times that are still to come."""
        self._start += by_ms


class Modelled:
    """A :class:`Source` of a model's events on a schedule."""

    def __init__(self, workload: Workload, schedule: Schedule, encoders: Encoders) -> None:
        self._workload = workload
        self._schedule = schedule
        self._encoders = encoders
        self._ahead = NO_ROWS
        """Made, and not taken."""

    @property
    def finished(self) -> bool:
        """See :class:`Source`."""
        return self._schedule.finished and not len(self._ahead)

    @property
    def expected(self) -> int | None:
        """See :class:`Source`."""
        return self._schedule.expected

    def take(self, until: int | None, limit: int) -> Rows:
        """See :class:`Source`."""
        taken = self._from_ahead(until, limit)
        while len(taken) < limit and not len(self._ahead):
            self._ahead = self._make(until, limit)
            more = self._from_ahead(until, limit - len(taken))
            if not len(more):
                break
            taken = taken.joined(more)
        return taken

    def _from_ahead(self, until: int | None, limit: int) -> Rows:
        ahead = self._ahead
        if not len(ahead):
            return NO_ROWS
        due = len(ahead) if until is None else int(ahead.times.searchsorted(until, side="right"))
        count = min(due, limit)
        self._ahead = ahead.picked(slice(count, None))
        return ahead.picked(slice(0, count))

    def _make(self, until: int | None, limit: int) -> Rows:
        if until is None:
            times = self._schedule.take(None, limit)
        else:
            times = self._schedule.take(until + AHEAD_MS, AHEAD_EVENTS)
        return self._encoders.rows(self._workload.batch(times)) if len(times) else NO_ROWS

    def delay(self, by_ms: int) -> None:
        """See :class:`Source`."""
        self._schedule.delay(by_ms)
        self._ahead = self._ahead.shifted(by_ms)


class History:
    """A :class:`Source` of events that are known, in event-time order."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._expected = len(rows)

    @property
    def finished(self) -> bool:
        """See :class:`Source`."""
        return not len(self._rows)

    @property
    def expected(self) -> int | None:
        """See :class:`Source`."""
        return self._expected

    def take(self, until: int | None, limit: int) -> Rows:
        """See :class:`Source`."""
        due = len(self._rows) if until is None else int(self._rows.times.searchsorted(until, side="right"))
        count = min(due, limit)
        taken, self._rows = self._rows.picked(slice(0, count)), self._rows.picked(slice(count, None))
        return taken

    def delay(self, by_ms: int) -> None:
        """See :class:`Source`."""
        self._rows = self._rows.shifted(by_ms)


def as_if_now(events: Sequence[Event], start: int, speed: float) -> list[Event]:
    """Return ``events`` as if the first had happened at ``start``, the gaps divided by ``speed``."""
    if not events:
        return []
    first = events[0].occurred_at
    return [at_time(event, start + int((event.occurred_at - first) / speed)) for event in events]


def at_time(event: Event, occurred_at: int) -> Event:
    """Return the event at another time."""
    return event._replace(fields={**event.fields, "occurred_at": occurred_at})
