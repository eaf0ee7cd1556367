"""What a stage says of itself: live, ready, and why not."""

import threading
import time
from collections.abc import Callable

STALLED_AFTER_S = 180.0
"""For how long a stage may stand still before records that are there, with all parts at hand, and count as live."""


class Health:
    """Readiness by part. Ready when started and no part is away; live until :meth:`fail`, and while offsets move where
    there is lag (see :meth:`reached`). Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reached: object = None
        self._lag = 0
        self._moved_at = clock()
        self._lock = threading.Lock()
        self._away: dict[str, str] = {"start": "the stage is starting"}
        self._parts: set[str] = set()
        self._failed: str | None = None

    def away(self, part: str, why: str) -> None:
        """Say that ``part`` does not answer: readiness goes red, liveness stays green."""
        with self._lock:
            self._parts.add(part)
            self._away[part] = why

    def here(self, part: str) -> None:
        """Say that ``part`` answers."""
        with self._lock:
            self._parts.add(part)
            if self._away.pop(part, None) is not None:
                self._moved_at = self._clock()

    def parts(self) -> dict[str, bool]:
        """Return the parts that anything was said of, and whether each is away."""
        with self._lock:
            return {part: part in self._away for part in sorted(self._parts - {"start"})}

    def started(self) -> None:
        """Say that the stage does its work."""
        self.here("start")

    def fail(self, why: str) -> None:
        """Say that the stage can't go on: liveness goes red."""
        with self._lock:
            self._failed = why

    def reached(self, offsets: object, lag: int) -> None:
        """Say which offsets were reached, and how many records are there behind them."""
        with self._lock:
            if lag == 0 or offsets != self._reached:
                self._moved_at = self._clock()
            self._reached, self._lag = offsets, lag

    def live(self) -> dict[str, str]:
        """Return why the stage is not live; empty when it is."""
        with self._lock:
            stood_s = self._clock() - self._moved_at
            stalled = self._lag > 0 and not self._away and stood_s > STALLED_AFTER_S
            why = {"stalled": f"{self._lag} records wait, and for {stood_s:.0f} s no offset moved"} if stalled else {}
            return why | ({"failed": self._failed} if self._failed else {})

    def ready(self) -> dict[str, str]:
        """Return why the stage is not ready, by part; empty when it is."""
        with self._lock:
            return dict(self._away) | ({"failed": self._failed} if self._failed else {})
