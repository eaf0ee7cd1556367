"""Faults, injected on purpose and known for certain: disorder, duplicates, late events, poison.

An event of the models that is held back is still delivered less than the allowed disorder behind the newest one of its
partition, and so is its copy: what is meant to be in time is, whatever the timing. What is meant to be late is put into
a pane that is final already (see :mod:`producers.lanes`). Poison comes on top: broken copies of events.
"""

import heapq
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from penstock.avro import HEADER_BYTES
from penstock.pipeline import ALLOWED_DISORDER_MS
from producers.events import Event

Fate = Literal["applied", "duplicate", "late", "dead", "control"]
Poison = Literal["truncated", "random-bytes", "unknown-schema", "trailing-bytes", "far-future"]

POISONS: tuple[Poison, ...] = ("truncated", "random-bytes", "unknown-schema", "trailing-bytes", "far-future")

MAX_COPY_DELAY_MS = 1_000
"""A duplicate follows its first copy within this time."""

MAX_DISORDER_MS = ALLOWED_DISORDER_MS - 2 * MAX_COPY_DELAY_MS

FAR_FUTURE_MS = 7_258_118_400_000
"""The year 2200: ahead of any append time by far, also in a replay of history."""

_FOREIGN_ID = 2_000_000_000
"""Schema ids from here on belong to nobody."""


@dataclass(frozen=True)
class Faults:
    """``disorder_ms`` is the longest that an event is held back; the others are shares of the events, 0 to 1."""

    disorder_ms: int = 0
    duplicates: float = 0.0
    late: float = 0.0
    poison: float = 0.0

    @property
    def none(self) -> bool:
        """Whether there is nothing to inject."""
        return not (self.disorder_ms or self.duplicates or self.late or self.poison)


class Planned(NamedTuple):
    """An event with its fate and its turn: ``due`` by the run's clock, ``number`` breaks ties."""

    due: int
    number: int
    fate: Fate
    event: Event
    poison: Poison | None = None


class FaultInjector:
    """Holds events back until they are due, and adds copies and poison."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self._faults = faults
        self._rng = rng
        self._held: list[Planned] = []
        self._number = 0

    def hold(self, events: Iterable[Event]) -> None:
        """Take events, in event-time order."""
        faults, random, held, number = self._faults, self._rng.random, self._held, self._number
        late, duplicates = faults.late, faults.late + faults.duplicates
        poison = duplicates + faults.poison
        for event in events:
            due = event.occurred_at + int(random() * (faults.disorder_ms + 1))
            chance = random()
            fate: Fate = "late" if chance < late else "applied"
            heapq.heappush(held, Planned(due, number, fate, event))
            number += 1
            if late <= chance < poison:
                heapq.heappush(held, self._extra(due, number, event, copy=chance < duplicates))
                number += 1
        self._number = number

    def _extra(self, due: int, number: int, event: Event, *, copy: bool) -> Planned:
        if copy:
            return Planned(due + int(self._rng.random() * MAX_COPY_DELAY_MS), number, "duplicate", event)
        return Planned(due, number, "dead", event, self._rng.choice(POISONS))

    def release(self, until: int) -> list[Planned]:
        """Return what is due by ``until``, in order."""
        held, pop, out = self._held, heapq.heappop, []
        while held and held[0][0] <= until:
            out.append(pop(held))
        return out

    def release_all(self) -> list[Planned]:
        """Return all that is held, in order."""
        out, self._held = sorted(self._held), []
        return out

    def spoil(self, poison: Poison, payload: bytes) -> bytes:
        """Return a broken copy of ``payload``, an encoded record (``far-future`` breaks the event, not its bytes)."""
        rng = self._rng
        if poison == "truncated":
            return payload[: rng.randrange(len(payload))]
        if poison == "random-bytes":
            return bytes((rng.randrange(1, 256),)) + rng.randbytes(rng.randrange(64))
        if poison == "unknown-schema":
            return b"\0" + (_FOREIGN_ID + rng.randrange(1_000)).to_bytes(4, "big") + payload[HEADER_BYTES:]
        if poison == "trailing-bytes":
            return payload + rng.randbytes(rng.randrange(1, 16))
        return payload
