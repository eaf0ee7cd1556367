"""What a stage says of itself: live, ready, and why not."""

import threading
import time
from collections.abc import Callable

STALLED_AFTER_S = 180.0
"""For how long a stage may stand still before records that are there, with all parts at hand, and count as live; and
for how long one of its loops may not run."""


class Health:
    """Readiness by part. Ready when started and no part is away; live until :meth:`fail`, while offsets move where
    there is lag (see :meth:`reached`), and while its loops run (see :meth:`beat`). Safe for threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reached: object = None
        self._lag = 0
        self._moved_at = self._here_at = clock()
        self._beats: dict[str, tuple[float, bool]] = {}
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
                self._moved_at = self._here_at = self._clock()

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

    def beat(self, loop: str, *, waits: bool = False) -> None:
        """Say that a loop of the stage runs: from its first beat on it has to. One that ``waits`` for parts may stand
        still while one is away; any other beats while it waits."""
        with self._lock:
            self._beats[loop] = (self._clock(), waits)

    def live(self) -> dict[str, str]:
        """Return why the stage is not live; empty when it is."""
        with self._lock:
            stood_s = self._clock() - self._moved_at
            stalled = self._lag > 0 and not self._away and stood_s > STALLED_AFTER_S
            why = {"stalled": f"{self._lag} records wait, and for {stood_s:.0f} s no offset moved"} if stalled else {}
            return why | self._hung() | ({"failed": self._failed} if self._failed else {})

    def _hung(self) -> dict[str, str]:
        now, stood_s = self._clock(), {}
        for loop, (beat_at, waits) in self._beats.items():
            if not (waits and self._away):
                stood_s[loop] = now - (max(beat_at, self._here_at) if waits else beat_at)
        hung = [f"{loop} has not run for {stood:.0f} s" for loop, stood in stood_s.items() if stood > STALLED_AFTER_S]
        return {"hung": "; ".join(hung)} if hung else {}

    def ready(self) -> dict[str, str]:
        """Return why the stage is not ready, by part; empty when it is."""
        with self._lock:
            return dict(self._away) | ({"failed": self._failed} if self._failed else {})
