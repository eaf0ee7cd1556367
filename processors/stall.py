"""Liveness: offsets move while there is lag, else the process ends and is started again. Pure, given a clock."""

from collections.abc import Callable

from penstock.errors import PenstockError

Partition = tuple[str, int]


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
