"""One topic's stream: events with their faults and heartbeats in the order to send them. Pure."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from penstock.pipeline import NO_TIME
from producers.faults import (
    APPLIED,
    DEAD,
    DUPLICATE,
    FAR_FUTURE_MS,
    LATE,
    POISONS,
    FaultInjector,
    Faults,
    Poison,
    spoiled,
)
from producers.lanes import HEARTBEAT_MS, Lanes, closing_time
from producers.rows import NO_ROWS, Encoders, Rows, moved
from producers.truth import Report, TopicTruth

HEARTBEAT = "Heartbeat"


class Outgoing(NamedTuple):
    """A record to send, and who takes its delivery report."""

    value: bytes
    key: bytes | None
    partition: int
    report: Report


@dataclass
class Batch:
    """Records to send, in order: a list of each part of :class:`Outgoing`."""

    values: list[bytes] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def row(self, position: int) -> Outgoing:
        """Return one record."""
        return Outgoing(self.values[position], self.keys[position], self.partitions[position], self.reports[position])

    def add(self, *records: Outgoing) -> None:
        """Append records."""
        for value, key, partition, report in records:
            self.values.append(value)
            self.keys.append(key)
            self.partitions.append(partition)
            self.reports.append(report)


@dataclass(frozen=True)
class Pulse:
    """Whom the heartbeats name as their source, and if partitions that have nothing get them on the way too.

    With ``now``, a wall clock in ms, the run is live: every partition gets them, and they say when they were sent.
    """

    source: str
    on_the_way: bool = True
    now: Callable[[], int] | None = None


class Stream:
    """Turns encoded events into records to send."""

    def __init__(
        self,
        truth: TopicTruth,
        encoders: Encoders,
        pulse: Pulse,
        rng: random.Random,
        faults: Faults | None = None,
    ) -> None:
        self.truth = truth
        self._encoders = encoders
        self._pulse = pulse
        self._rng = rng
        self._injector = None if faults is None or faults.none else FaultInjector(faults, rng.getrandbits(63))
        self._lanes = Lanes(truth.partitions)
        self._heartbeats = pulse.on_the_way
        self._all_partitions = range(truth.partitions)
        self._clock = NO_TIME

    def advance(self, rows: Rows, clock: int) -> Batch:
        """Return what is to be sent up to ``clock``, given the events up to it, in event-time order.

        A partition that had nothing for a second of the clock gets a heartbeat. The clock never goes back.
        """
        self._clock = max(clock, self._clock)
        if self._injector is not None:
            self._injector.hold(rows)
            rows = self._injector.release(self._clock)
        out = self._send(rows)
        if self._heartbeats and self._clock >= self._lanes.next_beat:
            self._beat(out, self._clock)
        return out

    def close(self, *, final: bool) -> Batch:
        """Return what is still held, and with ``final`` a heartbeat to each partition that makes all panes final."""
        out = self._send(self._injector.release_all() if self._injector else NO_ROWS)
        newest = max(self._clock, int(self._lanes.newest.max()))
        if final and newest != NO_TIME:
            at = closing_time(newest)
            out.add(*(self._heartbeat(partition, at) for partition in self._all_partitions))
        return out

    def _send(self, rows: Rows) -> Batch:
        """Return the records of ``rows``, in the order of their turns, with the heartbeats that are due between."""
        out = Batch()
        if not len(rows):
            return out
        beats: list[tuple[int, list[Outgoing]]] = []
        borders = self._borders(rows)
        for start, end in zip(borders, [*borders[1:], len(rows)], strict=True):
            due = int(rows.facts["due"][start])
            if self._heartbeats and due >= self._lanes.next_beat:
                before = Batch()
                self._beat(before, due)
                beats.append((start, [before.row(position) for position in range(len(before))]))
            self._settle(rows.picked(slice(start, end)))
        values, keys = rows.values.tolist(), rows.keys.tolist()
        partitions = rows.facts["partition"].tolist()
        reports = self.truth.note(rows.facts, self._encoders.records)
        ends = [*(start for start, _ in beats), len(rows)]
        begin = 0
        for end, after in zip(ends, [*(beat for _, beat in beats), []], strict=True):
            out.values += values[begin:end]
            out.keys += keys[begin:end]
            out.partitions += partitions[begin:end]
            out.reports += reports[begin:end]
            out.add(*after)
            begin = end
        return out

    def _borders(self, rows: Rows) -> list[int]:
        """Return where a stretch begins within which no heartbeat can be due."""
        if not self._heartbeats:
            return [0]
        return [0, *(np.flatnonzero(np.diff(rows.facts["due"] // HEARTBEAT_MS)) + 1).tolist()]

    def _settle(self, rows: Rows) -> None:
        """Make events late and break others, as their fates say, in place; and note the rest in their lanes."""
        facts = rows.facts
        if self._injector is not None:
            late = np.flatnonzero(facts["fate"] == LATE)
            chances = self._injector.lateness(facts["number"][late]) if len(late) else []
            for position, chance in zip(late.tolist(), chances, strict=True):
                self._make_late(rows, position, chance)
            for position in np.flatnonzero(facts["fate"] == DEAD).tolist():
                rng = self._injector.rng(int(facts["number"][position]))
                poison = POISONS[facts["poison"][position]]
                rows.values[position] = _poison(poison, rows.values[position], rng)
        in_time = facts[facts["fate"] <= DUPLICATE]
        self._lanes.wrote(in_time["partition"], in_time["occurred_at"])

    def _make_late(self, rows: Rows, position: int, chance: float) -> None:
        at = self._lanes.late_time(int(rows.facts["partition"][position]), chance)
        if at is None:
            # Where nothing is known of a partition nothing can be late: the event goes as it is.
            rows.facts["fate"][position] = APPLIED
        else:
            rows.facts["occurred_at"][position] = at
            rows.values[position] = moved(rows.values[position], at)

    def _beat(self, out: Batch, clock: int) -> None:
        """Send a heartbeat to each partition that had nothing; in a live run to the others as well, as a probe of how
        long it takes to the views. Theirs carries no newer time than their events do: nothing gets late by it."""
        at, idle = self._lanes.beat(clock)
        if self._pulse.now is None:
            out.add(*(self._heartbeat(partition, at) for partition in idle))
            return
        sent_at = self._pulse.now()
        times = [(p, at if p in idle else int(self._lanes.newest[p])) for p in self._all_partitions]
        out.add(*(self._heartbeat(partition, time, sent_at) for partition, time in times))

    def _heartbeat(self, partition: int, at: int, sent_at: int | None = None) -> Outgoing:
        tally = self.truth.tally("control", HEARTBEAT)
        tally.sent += 1
        self._lanes.heartbeat(partition, at)
        event_id = _uuid(self._rng)
        fields = {"event_id": event_id, "occurred_at": at, "source": self._pulse.source, "sent_at": sent_at}
        return Outgoing(self._encoders.one(HEARTBEAT, fields), None, partition, tally.delivered)


def _poison(poison: Poison, value: bytes, rng: random.Random) -> bytes:
    if poison == "far-future":
        value = moved(value, FAR_FUTURE_MS, _uuid(rng).encode())
    return spoiled(poison, value, rng)


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
