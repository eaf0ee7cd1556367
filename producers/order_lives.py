"""Which event of an order comes when: orders live on, each step after its own delay. In columns, a second at a time.

Every moment of the schedule has one event: the step that has waited longest of those that are due, else a new order.
No step is due within a second of the one before, so that a second's events follow from what was due before it.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from producers.chance import Choice, Draws, Ints

MAX_LIVING_ORDERS = 50_000
"""Orders that wait for their next step; beyond, next steps come after the shortest delay, so that memory is bounded."""

SHORTEST_DELAY_MS = 1_000

PAID, SHIPPED, RETURNED, CUSTOMER, PAYMENT_FAILED, OUT_OF_STOCK = range(6)

_SOON_S = 8

# (steps of a life with the mean delay before each in ms, weight): minutes of a real shop told in seconds
_LIVES: tuple[tuple[tuple[tuple[int, int], ...], int], ...] = (
    (((PAID, 4_000), (SHIPPED, 20_000)), 92),
    (((PAID, 4_000), (SHIPPED, 20_000), (RETURNED, 40_000)), 3),
    (((CUSTOMER, 8_000),), 2),
    (((PAYMENT_FAILED, 6_000),), 2),
    (((PAID, 4_000), (OUT_OF_STOCK, 10_000)), 1),
)
_MOST_STEPS = max(len(steps) for steps, _ in _LIVES)
_COUNTS = np.array([len(steps) for steps, _ in _LIVES])
_KINDS = np.array([[kind for kind, _ in steps] + [-1] * (_MOST_STEPS - len(steps)) for steps, _ in _LIVES])
_DELAYS = np.array([[delay for _, delay in steps] + [0] * (_MOST_STEPS - len(steps)) for steps, _ in _LIVES])

# The columns of a matrix of steps: plain integers, since arrays of records are slow to join.
_DUE, _ORDER, _PLACED_AT, _NUMBER = range(4)


class Events(NamedTuple):
    """What happens at each of some times: of which order, placed when, and the kind of step (-1: it is placed)."""

    orders: Ints
    placed_at: Ints
    kinds: Ints


class Lives:
    """The orders that wait for a step."""

    def __init__(self, seed: int) -> None:
        self._lives = Draws(seed, "orders/lives")
        self._delays = Draws(seed, "orders/delays")
        self._choice = Choice([weight for _, weight in _LIVES])
        self._placed = 0
        self._living = 0
        self._second = -1
        self._due = np.empty((0, 4), np.int64)
        """Steps due in the present second or before, in the order of their times."""
        self._soon: dict[int, list[Ints]] = {}
        """Steps due before ``_horizon``, by second."""
        self._horizon = 0
        self._later: list[Ints] = []

    def at(self, times: Ints) -> Events:
        """Return what happens at ``times``, ascending and not before those of the last call."""
        if not len(times):
            return Events(times, times, times)
        seconds = times // SHORTEST_DELAY_MS
        borders = [0, *(np.flatnonzero(np.diff(seconds)) + 1).tolist(), len(times)]
        parts = [self._within(int(seconds[a]), times[a:b]) for a, b in pairwise(borders)]
        return Events(*map(np.concatenate, zip(*parts, strict=True)))

    def _within(self, second: int, times: Ints) -> Events:
        """Return what happens at ``times`` of one second."""
        if second > self._second:
            self._begin(second)
        steps = self._due
        # The number of steps taken by each moment: one more than before, but never more than are due.
        moments = np.arange(1, len(times) + 1)
        due = steps[:, _DUE].searchsorted(times, side="right")
        taken = moments + np.minimum(np.minimum.accumulate(due - moments), 0)
        is_step = np.diff(taken, prepend=0) == 1
        steps, self._due = steps[: taken[-1]], steps[taken[-1] :]
        now = np.full((len(times), 4), -1)
        now[is_step] = steps
        new = ~is_step
        placed = int(np.count_nonzero(new))
        now[new, _ORDER] = np.arange(self._placed, self._placed + placed)
        now[new, _PLACED_AT] = times[new]
        self._placed += placed
        lives = self._choice.of(self._lives.uniform(now[:, _ORDER]))
        self._wait(now, lives, times)
        kinds = np.where(is_step, _KINDS[lives, now[:, _NUMBER]], -1)
        return Events(now[:, _ORDER], now[:, _PLACED_AT], kinds)

    def _begin(self, second: int) -> None:
        """Make what is due in ``second``, or before, wait for its turn."""
        if second >= self._horizon:
            # Steps that are far off wait in no order: they are looked at again once in so many seconds.
            far, self._later = self._later, []
            self._horizon = second + _SOON_S
            self._file(np.concatenate([self._due[:0], *far]))
        parts = [self._due]
        for before in sorted(filed for filed in self._soon if filed <= second):
            parts += self._soon.pop(before)
        steps = np.concatenate(parts)
        self._due = steps[np.argsort(steps[:, _DUE], kind="stable")]
        self._second = second

    def _wait(self, now: Ints, lives: Ints, times: Ints) -> None:
        """Make the next step of each order, unless this was its last, wait until it is due."""
        number = now[:, _NUMBER] + 1
        on = number < _COUNTS[lives]
        # Placed: one more lives. Last step: one less. A step between changes nothing.
        living = self._living + np.cumsum(on.astype(np.int64) - (number > 0))
        self._living = int(living[-1])
        after = _DELAYS[lives, np.minimum(number, _MOST_STEPS - 1)] - SHORTEST_DELAY_MS
        wait = after * self._delays.exponential(now[:, _ORDER] * _MOST_STEPS + number)
        wait[living > MAX_LIVING_ORDERS] = 0
        steps = now[on]
        steps[:, _NUMBER] = number[on]
        steps[:, _DUE] = (times + SHORTEST_DELAY_MS + wait.astype(np.int64))[on]
        self._file(steps)

    def _file(self, steps: Ints) -> None:
        seconds = steps[:, _DUE] // SHORTEST_DELAY_MS
        soon = seconds < self._horizon
        self._later.append(steps[~soon])
        steps, seconds = steps[soon], seconds[soon]
        order = np.argsort(seconds, kind="stable")
        steps, seconds = steps[order], seconds[order]
        starts = np.flatnonzero(np.diff(seconds, prepend=-1)).tolist()
        for start, end in zip(starts, [*starts[1:], len(steps)], strict=False):
            self._soon.setdefault(int(seconds[start]), []).append(steps[start:end])
