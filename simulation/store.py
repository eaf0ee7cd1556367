"""The views' database: the real SQLite store, with pauses in and around its transactions, and away now and then."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from consumers.sqlite_store import SqliteStore
from consumers.stores import Transaction
from penstock.errors import Unavailable
from simulation.world import World

_PATIENCE = 30
"""Pauses for which a writer waits for another one."""


class SimStore:
    """See :class:`consumers.stores.Store`. Locks are waited for in turns of the schedule, not in seconds."""

    def __init__(self, world: World, store: SqliteStore) -> None:
        self._world, self._store = world, store
        self.dialect = store.dialect

    def prepare(self, staging: Iterable[str]) -> None:
        """See :class:`consumers.stores.Store`."""
        self._store.prepare(staging)

    def transaction(self) -> AbstractContextManager[Transaction]:
        """See :class:`consumers.stores.Store`."""
        return self._writing()

    def exclusively(self) -> AbstractContextManager[Transaction]:
        """See :class:`consumers.stores.Store`."""
        return self._writing()

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """See :class:`consumers.stores.Store`."""
        self._world.pause("snapshot")
        self._check_here()
        with self._store.snapshot() as transaction:
            yield transaction
        self._world.pause("after snapshot")

    def close(self) -> None:
        """See :class:`consumers.stores.Store`."""
        self._store.close()

    @contextmanager
    def _writing(self) -> Iterator[Transaction]:
        world = self._world
        world.pause("before transaction", 2)
        self._check_here()
        self._wait_for_the_writer()
        world.writer = self
        try:
            with self._store.transaction() as transaction:
                yield transaction
                world.pause("before the database's commit", 2)
                self._check_here()
        finally:
            world.writer = None
        if world.chance("database reply lost", "the database's commit"):
            raise Unavailable("the connection was cut at COMMIT")
        world.pause("after the database's commit", 2)

    def _check_here(self) -> None:
        if self._world.turns < self._world.database_away_until:
            raise Unavailable("the database is away")

    def _wait_for_the_writer(self) -> None:
        for _ in range(_PATIENCE):
            if self._world.writer is None:
                return
            self._world.pause("waiting for the database's lock")
        raise Unavailable("the database is locked")
