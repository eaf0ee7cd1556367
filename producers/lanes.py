"""What a producer knows of each partition that it writes: how far its event time is, and whether it had something.

A producer that writes in order knows how far each partition's event time has come at least, so it can say for certain
which pane is final there.
"""

import random

from penstock.pipeline import ALLOWED_DISORDER_MS, NO_TIME, PANE_MS, watermark

HEARTBEAT_MS = 1_000

_LATE_SPAN_MS = 120_000


def closing_time(newest_ms: int) -> int:
    """Return the earliest event time that makes every pane up to that of ``newest_ms`` final."""
    return (newest_ms // PANE_MS + 1) * PANE_MS + ALLOWED_DISORDER_MS


class Lanes:
    """The partitions of one topic, as this producer has written them so far."""

    def __init__(self, partitions: int) -> None:
        self.newest = [NO_TIME] * partitions
        """The largest event time written, by partition; ``NO_TIME`` before the first."""
        self._busy = [False] * partitions
        self.next_beat = NO_TIME
        """The clock at which partitions that had nothing are due a heartbeat."""

    def wrote(self, partition: int, occurred_at: int) -> None:
        """Note an event in time, or a heartbeat."""
        self._busy[partition] = True
        self.newest[partition] = max(self.newest[partition], occurred_at)

    def beat(self, clock: int) -> tuple[int, list[int]]:
        """Return a heartbeat's time and the partitions that are due one at ``clock``, and begin the next second."""
        at = clock - clock % HEARTBEAT_MS
        self.next_beat = at + HEARTBEAT_MS
        idle = [partition for partition, busy in enumerate(self._busy) if not busy]
        self._busy = [False] * len(self._busy)
        return at, idle

    def late_time(self, partition: int, rng: random.Random) -> int | None:
        """Return a time in a pane that is final there, up to two minutes before its end; None if nothing is known."""
        newest = self.newest[partition]
        if newest == NO_TIME:
            return None
        final_until = watermark(newest) // PANE_MS * PANE_MS
        return None if final_until < _LATE_SPAN_MS else final_until - 1 - rng.randrange(_LATE_SPAN_MS)
