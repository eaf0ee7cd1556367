"""The database as the server sees it: a few connections, each query in a thread, with limits on all of it."""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from queue import LifoQueue
from typing import TypeVar

from consumers.serving.look import Look, NotNow
from consumers.serving.readers import ReadingStore, open_reader
from consumers.stores import Transaction
from consumers.view_files import View, load_views
from penstock.settings import Settings

T = TypeVar("T")

CONNECTIONS = 4
"""How many queries of the API run at once."""

QUERY_LIMIT_S = 5.0
WAIT_LIMIT_S = 3.0
"""How long a request waits for a connection before it is turned away."""

MAX_WAITING = 100
"""How many requests wait at once; the next is turned away at once."""

_SHOWN = "SELECT view, version FROM view_versions WHERE shown <> ''"
_SHOWN_FOR_S = 2.0


class Database:
    """Reads the views. Made inside of a running event loop; closed by :meth:`close`."""

    def __init__(self, settings: Settings, connections: int = CONNECTIONS, limit_s: float = QUERY_LIMIT_S) -> None:
        self._views: Mapping[str, View] = load_views()
        self._idle: LifoQueue[ReadingStore] = LifoQueue()
        self._all = [open_reader(settings, limit_s) for _ in range(connections)]
        for store in self._all:
            self._idle.put(store)
        self._free = asyncio.Semaphore(connections)
        self._waiting = 0
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="query")
        self._shown: tuple[float, dict[str, int]] = (0.0, {})

    async def read(self, work: Callable[[Look], T]) -> T:
        """Return what ``work`` makes of one snapshot.

        Raises :class:`penstock.errors.Unavailable` when the database is away (:class:`NotNow` when it is too slow, or
        has no time), and what ``work`` raises.
        """
        await self._turn()
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._threads, self._read, work)
        # A client that left does not free the connection: its query runs to its own end.
        running.add_done_callback(lambda _: self._free.release())
        return await asyncio.shield(running)

    async def close(self) -> None:
        """Wait for what runs, and close the connections."""
        await asyncio.to_thread(self._threads.shutdown)
        for store in self._all:
            store.close()

    async def _turn(self) -> None:
        if self._waiting >= MAX_WAITING:
            raise NotNow("too many requests wait for the database")
        self._waiting += 1
        try:
            await asyncio.wait_for(self._free.acquire(), WAIT_LIMIT_S)
        except TimeoutError:
            raise NotNow(f"no database connection was free within {WAIT_LIMIT_S:g} s") from None
        finally:
            self._waiting -= 1

    def _read(self, work: Callable[[Look], T]) -> T:
        store = self._idle.get()
        try:
            with store.snapshot() as transaction:
                return work(Look(transaction, store.dialect, self._views, self._versions(store, transaction)))
        finally:
            self._idle.put(store)

    def _versions(self, store: ReadingStore, transaction: Transaction) -> dict[str, int]:
        until, shown = self._shown
        if time.monotonic() < until:
            return shown
        if not transaction.fetch(store.TABLES, {"name": "view_versions"}):
            raise NotNow("the database holds no views yet: `penstock materialize` makes them")
        shown = {view: int(version) for view, version in transaction.fetch(_SHOWN)}
        self._shown = (time.monotonic() + _SHOWN_FOR_S, shown)
        return shown
