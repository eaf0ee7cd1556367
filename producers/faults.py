"""Faults, injected on purpose and known for certain: disorder, duplicates, late events, poison.

An event of the models that is held back is still delivered less than the allowed disorder behind the newest one of its
partition, and so is its copy: what is meant to be in time is, whatever the timing. What is meant to be late is put into
a pane that is final already (see :mod:`producers.lanes`). Poison comes on top: broken copies of events.
"""

import random
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from penstock.avro import HEADER_BYTES
from penstock.pipeline import ALLOWED_DISORDER_MS
from producers.chance import Draws, Floats, Ints
from producers.rows import NO_ROWS, Rows

Fate = Literal["applied", "duplicate", "late", "dead", "control"]
Poison = Literal["truncated", "random-bytes", "unknown-schema", "trailing-bytes", "far-future"]

FATES: tuple[Fate, ...] = ("applied", "duplicate", "late", "dead", "control")
APPLIED, DUPLICATE, LATE, DEAD, CONTROL = range(len(FATES))
POISONS: tuple[Poison, ...] = ("truncated", "random-bytes", "unknown-schema", "trailing-bytes", "far-future")

MAX_COPY_DELAY_MS = 1_000
"""A duplicate follows its first copy within this time."""

MAX_DISORDER_MS = ALLOWED_DISORDER_MS - 2 * MAX_COPY_DELAY_MS

FAR_FUTURE_MS = 7_258_118_400_000
"""The year 2200: ahead of any append time by far, also in a replay of history."""

_NUMBER_BITS = 22

_DRAWN_AHEAD = 1_024
"""How many events are drawn for at a time: a paced run has few at a time, for which a draw each would cost too much."""

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


class FaultInjector:
    """Holds events back until they are due, and adds copies and poison.

    What happens to an event follows from its number, so that it does not depend on how many are held at a time.
    """

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._seed = seed
        self._delay, self._chance, self._more, self._late = (
            Draws(seed, purpose) for purpose in ("delay", "chance", "more", "late")
        )
        self._held = NO_ROWS
        """In the order of their turns."""
        self._number = 0
        self._drawn = self._draw(0)

    def hold(self, rows: Rows) -> None:
        """Take events, in event-time order."""
        if not len(rows):
            return
        faults, facts = self._faults, rows.facts.copy()
        numbers, delay, chance = self._next(len(rows))
        facts["number"] = numbers
        facts["due"] += (delay * (faults.disorder_ms + 1)).astype(np.int64)
        facts["fate"][chance < faults.late] = LATE
        rows = Rows(facts, rows.keys, rows.values)
        held = self._held.joined(rows, *self._extras(rows, chance))
        self._held = held.picked(np.argsort(_turns(held), kind="stable"))

    def _next(self, count: int) -> tuple[Ints, Floats, Floats]:
        """Return the next events' numbers and what is drawn for each."""
        if len(self._drawn[0]) < count:
            self._drawn = self._draw(max(count, _DRAWN_AHEAD))
        numbers, delay, chance = self._drawn
        self._drawn = numbers[count:], delay[count:], chance[count:]
        self._number += count
        return numbers[:count], delay[:count], chance[:count]

    def _draw(self, count: int) -> tuple[Ints, Floats, Floats]:
        numbers = np.arange(self._number, self._number + count)
        return numbers, self._delay.uniform(numbers), self._chance.uniform(numbers)

    def _extras(self, rows: Rows, chance: Floats) -> tuple[Rows, Rows]:
        """Return copies and poison."""
        faults = self._faults
        if not np.any((chance >= faults.late) & (chance < faults.late + faults.duplicates + faults.poison)):
            return NO_ROWS, NO_ROWS
        copies_until = faults.late + faults.duplicates
        copies = rows.picked(np.flatnonzero((chance >= faults.late) & (chance < copies_until)))
        broken = rows.picked(np.flatnonzero((chance >= copies_until) & (chance < copies_until + faults.poison)))
        more = self._more.uniform(copies.facts["number"])
        copies.facts["due"] += (more * MAX_COPY_DELAY_MS).astype(np.int64)
        copies.facts["fate"] = DUPLICATE
        broken.facts["fate"] = DEAD
        broken.facts["poison"] = (self._more.uniform(broken.facts["number"]) * len(POISONS)).astype(np.int8)
        return copies, broken

    def release(self, until: int) -> Rows:
        """Return what is due by ``until``, in order."""
        if not len(self._held):
            return NO_ROWS
        count = int(self._held.facts["due"].searchsorted(until, side="right"))
        out = self._held.picked(slice(0, count))
        self._held = self._held.picked(slice(count, None))
        return out

    def release_all(self) -> Rows:
        """Return all that is held, in order."""
        out, self._held = self._held, NO_ROWS
        return out

    def lateness(self, numbers: Ints) -> list[float]:
        """Return how far back each late event goes, of [0, 1)."""
        found: list[float] = self._late.uniform(numbers).tolist()
        return found

    def rng(self, number: int) -> random.Random:
        """Return the randomness of one poison."""
        return random.Random(f"{self._seed}/{number}")  # noqa: S311


def _turns(rows: Rows) -> npt.NDArray[np.uint64]:
    """Return what to sort by: when a row is due, and then its number; behind an event comes what was made of it.

    One key of 64 bits is faster to sort by than two; of the number the last bits do.
    """
    due, number = rows.facts["due"].astype(np.uint64), rows.facts["number"].astype(np.uint64)
    return due << np.uint64(_NUMBER_BITS) | number & np.uint64((1 << _NUMBER_BITS) - 1)


def spoiled(poison: Poison, payload: bytes, rng: random.Random) -> bytes:
    """Return a broken copy of ``payload``, an encoded record (``far-future`` breaks the event, not its bytes)."""
    if poison == "truncated":
        return payload[: rng.randrange(len(payload))]
    if poison == "random-bytes":
        return bytes((rng.randrange(1, 256),)) + rng.randbytes(rng.randrange(64))
    if poison == "unknown-schema":
        return b"\0" + (_FOREIGN_ID + rng.randrange(1_000)).to_bytes(4, "big") + payload[HEADER_BYTES:]
    if poison == "trailing-bytes":
        return payload + rng.randbytes(rng.randrange(1, 16))
    return payload
