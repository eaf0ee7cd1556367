"""Where a run's events come from, by its clock: a model on a schedule, or a history. Pure."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Protocol

from producers.events import Event, PartitionOf, Workload


class Source(Protocol):
    """Events in event-time order."""

    @property
    def finished(self) -> bool:
        """Whether no more will come."""

    @property
    def expected(self) -> int | None:
        """How many there will be in all; None where nobody knows."""

    def take(self, until: int | None, limit: int) -> list[Event]:
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

    def take(self, until: int | None, limit: int) -> list[int]:
        """Return the next times, up to ``until``, at most ``limit``."""
        stop = self._next + limit
        expected = self.expected
        if expected is not None:
            stop = min(stop, expected)
        if until is not None:
            stop = min(stop, floor((until + 1 - self._start) / self._step) + 1)
        times = [self.at(number) for number in range(self._next, stop)]
        while until is not None and times and times[-1] > until:
            times.pop()
        self._next += len(times)
        return times

    def delay(self, by_ms: int) -> None:
        """Move the times that are still to come."""
        self._start += by_ms


class Modelled:
    """A :class:`Source` of a model's events on a schedule."""

    def __init__(self, workload: Workload, schedule: Schedule) -> None:
        self._workload = workload
        self._schedule = schedule

    @property
    def finished(self) -> bool:
        """See :class:`Source`."""
        return self._schedule.finished

    @property
    def expected(self) -> int | None:
        """See :class:`Source`."""
        return self._schedule.expected

    def take(self, until: int | None, limit: int) -> list[Event]:
        """See :class:`Source`."""
        return self._workload.batch(self._schedule.take(until, limit))

    def delay(self, by_ms: int) -> None:
        """See :class:`Source`."""
        self._schedule.delay(by_ms)


class History:
    """A :class:`Source` of events that are known, in event-time order."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._next = 0
        self._shift = 0

    @property
    def finished(self) -> bool:
        """See :class:`Source`."""
        return self._next >= len(self._events)

    @property
    def expected(self) -> int | None:
        """See :class:`Source`."""
        return len(self._events)

    def take(self, until: int | None, limit: int) -> list[Event]:
        """See :class:`Source`."""
        chosen: list[Event] = []
        for event in self._events[self._next : self._next + limit]:
            at = event.occurred_at + self._shift
            if until is not None and at > until:
                break
            chosen.append(event if not self._shift else at_time(event, at))
        self._next += len(chosen)
        return chosen

    def delay(self, by_ms: int) -> None:
        """See :class:`Source`."""
        self._shift += by_ms


def as_if_now(events: Sequence[Event], start: int, speed: float) -> list[Event]:
    """Return ``events`` as if the first had happened at ``start``, the gaps divided by ``speed``."""
    if not events:
        return []
    first = events[0].occurred_at
    return [at_time(event, start + int((event.occurred_at - first) / speed)) for event in events]


def placed(events: Sequence[Event], partition_of: PartitionOf) -> list[Event]:
    """Return ``events`` with their partitions."""
    return [event._replace(partition=partition_of(event.key)) for event in events]


def at_time(event: Event, occurred_at: int) -> Event:
    """Return the event at another time."""
    return event._replace(fields={**event.fields, "occurred_at": occurred_at})
