"""What a producer knows of each partition that it writes: how far its event time is, and whether it had something.

A producer that writes in order knows how far each partition's event time has come at least, so it can say for certain
which pane is final there.
"""

import numpy as np
import numpy.typing as npt

from penstock.pipeline import ALLOWED_DISORDER_MS, NO_TIME, PANE_MS, watermark

Ints = npt.NDArray[np.int64]

HEARTBEAT_MS = 1_000

_LATE_SPAN_MS = 120_000


def closing_time(newest_ms: int) -> int:
    """Return the earliest event time that makes every pane up to that of ``newest_ms`` final."""
    return (newest_ms // PANE_MS + 1) * PANE_MS + ALLOWED_DISORDER_MS


class Lanes:
    """The partitions of one topic, as this producer has written them so far."""

    def __init__(self, partitions: int) -> None:
        self.newest = np.full(partitions, NO_TIME, np.int64)
        """The largest event time written, by partition; ``NO_TIME`` before the first."""
        self._known = self.newest.copy()
        self._busy = np.zeros(partitions, bool)
        self.next_beat = NO_TIME
        """The clock at which partitions that had nothing are due a heartbeat."""

    def wrote(self, partitions: Ints, times: Ints) -> None:
        """Note events in time."""
        self._busy[partitions] = True
        np.maximum.at(self.newest, partitions, times)

    def heartbeat(self, partition: int, occurred_at: int) -> None:
        """Note a heartbeat."""
        self.newest[partition] = self._known[partition] = max(int(self.newest[partition]), occurred_at)

    def beat(self, clock: int) -> tuple[int, list[int]]:
        """Return a heartbeat's time and the partitions that are due one at ``clock``, and begin the next second."""
        at = clock - clock % HEARTBEAT_MS
        self.next_beat = at + HEARTBEAT_MS
        idle: list[int] = np.flatnonzero(~self._busy).tolist()
        self._busy[:] = False
        self._known[:] = self.newest
        return at, idle

    def late_time(self, partition: int, chance: float) -> int | None:
        """Return a time in a pane that is final there, up to two minutes before its end; None if nothing is known.

        ``chance`` of [0, 1) chooses it. What is known is how things stood at the last beat: so it does not depend on
        how many events are looked at together.
        """
        newest = int(self._known[partition])
        if newest == NO_TIME:
            return None
        final_until = watermark(newest) // PANE_MS * PANE_MS
        return None if final_until < _LATE_SPAN_MS else final_until - 1 - int(chance * _LATE_SPAN_MS)
