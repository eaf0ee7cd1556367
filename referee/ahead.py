"""Reading ahead: a thread makes the next item while the caller works on one."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def ahead(items: Iterator[T], stop: Callable[[], None]) -> Iterator[Iterator[T]]:
    """Give out ``items``, none of which is None; each is made by a thread while the one before it is worked on.

    What the thread raises is raised where its item is asked for. At the end of the block ``stop`` is called, which may
    make an item that is still being made fail early, and the thread is waited for.
    """
    with ThreadPoolExecutor(1, "ahead") as thread:
        try:
            yield _one_ahead(items, thread)
        finally:
            stop()


def _one_ahead(items: Iterator[T], thread: ThreadPoolExecutor) -> Iterator[T]:
    making = thread.submit(next, items, None)
    while (item := making.result()) is not None:
        making = thread.submit(next, items, None)
        yield item
