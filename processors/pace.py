"""How often the log is asked for more, and early results go out: at once when idle, seldom when busy. Pure.

A small batch costs nearly as much as a large one, so what comes within an interval is fetched and folded together, and
its results go out right behind it. Who is behind does not pause, and sends early results no more often than that.
"""

import time
from collections.abc import Callable, Iterable

from processors.consumer import Batch


class Pace:
    """The pace of one process. ``now_s`` is a clock that only moves forward."""

    def __init__(self, interval_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._now_s = now_s
        self._fetch_at_s = self._send_at_s = now_s()

    def fetched(self, batches: Iterable[Batch]) -> None:
        """Note what a fetch brought: if the log has no more, the next one waits, and this one's results need not."""
        ends = [batch.log_end <= batch.records.offsets[-1] + 1 for batch in batches]
        if ends and all(ends):
            self._send_at_s = self._now_s()
            self._fetch_at_s = self._send_at_s + self._interval_s

    def pause_s(self) -> float:
        """Return how long to wait before the next fetch."""
        return max(0.0, self._fetch_at_s - self._now_s())

    def time_to_send(self) -> bool:
        """Return if early results may go out now."""
        return self._now_s() >= self._send_at_s

    def sent(self) -> None:
        """Note that early results went out."""
        self._send_at_s = self._now_s() + self._interval_s
