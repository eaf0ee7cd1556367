"""One topic's stream: events with their faults and heartbeats, encoded, in the order to send them. Pure."""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from penstock.pipeline import NO_TIME
from producers.events import Event
from producers.faults import FAR_FUTURE_MS, FaultInjector, Faults, Planned
from producers.lanes import Lanes, closing_time
from producers.truth import Tally, TopicTruth

Encode = Callable[[Mapping[str, Any]], bytes]

HEARTBEAT = "Heartbeat"


class Outgoing(NamedTuple):
    """A record to send, and where to count its acknowledgement."""

    value: bytes
    key: str | None
    partition: int
    tally: Tally


@dataclass(frozen=True)
class Pulse:
    """Whom the heartbeats name as their source, and if partitions that have nothing get them on the way too.

    With ``now``, a wall clock in ms, the run is live: every partition gets them, and they say when they were sent.
    """

    source: str
    on_the_way: bool = True
    now: Callable[[], int] | None = None


class Stream:
    """Turns events into records to send."""

    def __init__(
        self,
        truth: TopicTruth,
        encoders: Mapping[str, Encode],
        pulse: Pulse,
        rng: random.Random,
        faults: Faults | None = None,
    ) -> None:
        self.truth = truth
        self._encoders = encoders
        self._pulse = pulse
        self._rng = rng
        self._injector = None if faults is None or faults.none else FaultInjector(faults, rng)
        self._lanes = Lanes(truth.partitions)
        self._heartbeats = pulse.on_the_way
        self._all_partitions = range(truth.partitions)
        self._clock = NO_TIME

    def advance(self, events: Iterable[Event], clock: int) -> list[Outgoing]:
        """Return what is to be sent up to ``clock``, given the events up to it, in event-time order.

        A partition that had nothing for a second of the clock gets a heartbeat. The clock never goes back.
        """
        self._clock = max(clock, self._clock)
        if self._injector is None:
            planned = [Planned(event.occurred_at, 0, "applied", event) for event in events]
        else:
            self._injector.hold(events)
            planned = self._injector.release(self._clock)
        out = self._send(planned)
        if self._heartbeats and self._clock >= self._lanes.next_beat:
            self._beat(out, self._clock)
        return out

    def close(self, *, final: bool) -> list[Outgoing]:
        """Return what is still held, and with ``final`` a heartbeat to each partition that makes all panes final."""
        out = self._send(self._injector.release_all()) if self._injector else []
        newest = max(self._clock, *self._lanes.newest)
        if final and newest != NO_TIME:
            at = closing_time(newest)
            out += [self._heartbeat(partition, at) for partition in self._all_partitions]
        return out

    def _send(self, planned: Iterable[Planned]) -> list[Outgoing]:
        out: list[Outgoing] = []
        lanes, heartbeats = self._lanes, self._heartbeats
        for item in planned:
            if heartbeats and item.due >= lanes.next_beat:
                self._beat(out, item.due)
            out.append(self._record(item))
        return out

    def _record(self, item: Planned) -> Outgoing:
        event, partition = item.event, item.event.partition
        if item.fate == "dead":
            return self._poison(item)
        if item.fate == "late":
            at = self._lanes.late_time(partition, self._rng)
            # Where nothing is known of a partition nothing can be late: the event goes as it is.
            item = item._replace(fate="applied") if at is None else item._replace(event=_moved(event, at))
        tally = self.truth.note(item)
        fields = item.event.fields
        if item.fate != "late":
            self._lanes.wrote(partition, fields["occurred_at"])
        return Outgoing(self._encoders[event.record](fields), event.key, partition, tally)

    def _poison(self, item: Planned) -> Outgoing:
        event, poison = item.event, item.poison
        if poison is None or self._injector is None:
            raise ValueError(f"{item} is no poison")
        if poison == "far-future":
            event = _moved(event, FAR_FUTURE_MS, event_id=_uuid(self._rng))
        payload = self._injector.spoil(poison, self._encoders[event.record](event.fields))
        return Outgoing(payload, event.key, event.partition, self.truth.note(item))

    def _beat(self, out: list[Outgoing], clock: int) -> None:
        """Send a heartbeat to each partition that had nothing; in a live run to the others as well, as a probe of how
        long it takes to the views. Theirs carries no newer time than their events do: nothing gets late by it."""
        at, idle = self._lanes.beat(clock)
        if self._pulse.now is None:
            out += [self._heartbeat(partition, at) for partition in idle]
            return
        sent_at = self._pulse.now()
        times = ((p, at if p in idle else self._lanes.newest[p]) for p in self._all_partitions)
        out += [self._heartbeat(partition, time, sent_at) for partition, time in times]

    def _heartbeat(self, partition: int, at: int, sent_at: int | None = None) -> Outgoing:
        tally = self.truth.tally("control", HEARTBEAT)
        tally.sent += 1
        self._lanes.newest[partition] = max(self._lanes.newest[partition], at)
        event_id = _uuid(self._rng)
        fields = {"event_id": event_id, "occurred_at": at, "source": self._pulse.source, "sent_at": sent_at}
        return Outgoing(self._encoders[HEARTBEAT](fields), None, partition, tally)


def _moved(event: Event, occurred_at: int, **changes: Any) -> Event:
    return event._replace(fields={**event.fields, "occurred_at": occurred_at, **changes})


def _uuid(rng: random.Random) -> str:
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
