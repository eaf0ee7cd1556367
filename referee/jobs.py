"""Jobs that are done by a few threads; one that is done may bring others."""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import Generic, Self, TypeVar

from penstock.errors import GaveUpWaiting

T = TypeVar("T")
Job = Callable[[], T]
LOOK_EVERY_S = 0.2
"""How often ``stopping`` is looked at."""


class Jobs(Generic[T]):
    """Leaving the block waits for jobs that are under way, and starts no other."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "jobs")
        self._waiting: dict[Future[T], Callable[[], Iterable[Job[T]]]] = {}

    def add(self, job: Job[T], then: Callable[[], Iterable[Job[T]]] = list) -> None:
        """Do a job, and when it is done those that ``then`` returns."""
        self._waiting[self._threads.submit(job)] = then

    def results(self, stopping: Event | None = None) -> list[T]:
        """Wait for all jobs, and return what they returned, in no order.

        Raises what the first that fails raises, and GaveUpWaiting when ``stopping`` is set.
        """
        found = []
        while self._waiting:
            if stopping is not None and stopping.is_set():
                raise GaveUpWaiting("asked to end")
            for done in wait(self._waiting, LOOK_EVERY_S, FIRST_COMPLETED).done:
                then = self._waiting.pop(done)
                found.append(done.result())
                for job in then():
                    self.add(job)
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)
