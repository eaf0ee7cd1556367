"""The merge in hand: one at a time, and perhaps while the next batch is read and decoded.

While a database writes, the interpreter is free: so under a backlog a second core reads and decodes the next batch
meanwhile. Nothing else changes. Merges begin in the order of the log, each after the one before has ended well, and
each moves its offsets from where the one before left them, by compare-and-set: a merge that fails, or that somebody
else was ahead of, leaves nothing for the next one to build on.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], None]


class Merging(Protocol):
    """Does one piece of work at a time."""

    def start(self, work: Work) -> None:
        """Take on ``work``; what was taken on before has been finished."""

    def finish(self) -> None:
        """Return when the work is done; raises what it raised, and then does it again when it is called again."""

    def close(self) -> None:
        """Wait until nothing is being done; what was not finished may be done or not."""


class OnFinish:
    """Does the work when it is to be finished, in the thread that asks: nothing runs beside anything."""

    def __init__(self) -> None:
        self._work: Work | None = None

    def start(self, work: Work) -> None:
        """See :class:`Merging`."""
        self._work = work

    def finish(self) -> None:
        """See :class:`Merging`."""
        if self._work is not None:
            self._work()
        self._work = None

    def close(self) -> None:
        """See :class:`Merging`."""
        self._work = None


class InThread:
    """Does the work in a thread of its own, from when it is taken on; the second time, in the thread that asks."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="merging")
        self._again = OnFinish()
        self._running: Future[None] | None = None

    def start(self, work: Work) -> None:
        """See :class:`Merging`."""
        self._again.start(work)
        self._running = self._thread.submit(work)

    def finish(self) -> None:
        """See :class:`Merging`."""
        running, self._running = self._running, None
        if running is None:
            self._again.finish()
        else:
            running.result()
            self._again.close()

    def close(self) -> None:
        """See :class:`Merging`."""
        self._thread.shutdown(wait=True)
        self._again.close()
