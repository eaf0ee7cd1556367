"""What a stage says of itself: live, ready, and why not."""

import threading


class Health:
    """Readiness by part. Live until :meth:`fail`; ready when started and no part is away. Safe for threads."""

    def __init__(self) -> None:
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
            self._away.pop(part, None)

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

    def live(self) -> dict[str, str]:
        """Return why the stage is not live; empty when it is."""
        with self._lock:
            return {"failed": self._failed} if self._failed else {}

    def ready(self) -> dict[str, str]:
        """Return why the stage is not ready, by part; empty when it is."""
        with self._lock:
            return dict(self._away) | ({"failed": self._failed} if self._failed else {})
