"""Liveness: offsets move while there is lag, else the process ends, or is ended, and started again. Pure."""

from collections.abc import Callable

from penstock.errors import PenstockError
from penstock.health import Health

Partition = tuple[str, int]

MAIN_LOOP = "the main loop"
CONSUMER_THREAD = "the consumer thread"


class Backlog:
    """What was fetched and is not folded yet, and that the main loop runs."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._waiting = 0
        self._folded: dict[Partition, int] = {}

    def fetched(self, records: int) -> None:
        """Note that so many records are on their way to the fold."""
        self._waiting += records

    def folded(self, partition: Partition, end: int, records: int) -> None:
        """Note that so many records are folded, and with them all of their partition below ``end``."""
        self._waiting -= records
        self._folded[partition] = end

    @property
    def empty(self) -> bool:
        """If all that was fetched is folded."""
        return self._waiting <= 0

    def forget(self) -> None:
        """Begin anew: what was on its way is dropped."""
        self._waiting = 0
        self._folded.clear()

    def look(self) -> None:
        """Tell the health; to be called by the main loop, often."""
        self._health.beat(MAIN_LOOP)
        self._health.reached(dict(self._folded), max(self._waiting, 0))


class StallWatch:
    """Notices a consumer that stays alive and fetches nothing although the log has more."""

    CHECK_EVERY_S = 30.0

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._looked_s = now_s()
        self._behind: set[Partition] = set()

    def moved(self) -> None:
        """Note that records came."""
        self._looked_s = self._now_s()
        self._behind = set()

    def look(self, behind: Callable[[], set[Partition]]) -> None:
        """Check now and then; ``behind`` tells which partitions have more than what came.

        Raises :class:`PenstockError` for one that was behind at two checks with nothing between them.
        """
        if self._now_s() - self._looked_s < self.CHECK_EVERY_S:
            return
        before, self._behind = self._behind, behind()
        self._looked_s = self._now_s()
        stalled = before & self._behind
        if stalled:
            names = ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(stalled))
            raise PenstockError(
                f"the log of {names} has more, and for {self.CHECK_EVERY_S:.0f} s nothing came: start again"
            )
