"""Breaks of what is committed, when, and of what a restart or a rebalance makes of it."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import processors.consumer
from penstock.frontier import Frontier
from penstock.pipeline import NO_TIME, fingerprint
from processors.consumer import Batch, LogConsumer, Partition
from processors.fold import PartitionFold, Records
from processors.restore import Found, Restored, restore
from processors.worker import Points, Worker
from simulation.mutants import COMMITS, LETTERS, MUST_STOP, RESULTS, STOP, mutant, patched


@mutant(f"{RESULTS}, {LETTERS}", crash=0.03, zombie=0.0, rebalance=0.0, slow_network=1.0)
def commit_before_acknowledgement() -> Iterator[None]:
    """Commits, then waits for the acknowledgement of what was sent."""

    async def commit(
        self: Worker, flush: Callable[[], Awaitable[None]], commit: Callable[[Points], Awaitable[bool]]
    ) -> bool:
        points = self.commit_points()
        taken = bool(points) and await commit(points)
        if taken:
            self._committed |= {tp: metadata for tp, (_, metadata) in points.items() if tp in self._folds}
        await flush()
        return taken

    with patched(Worker, commit=commit):
        yield


@mutant(RESULTS, crash=0.03, zombie=0.0, rebalance=0.0, slow_network=1.0)
def points_after_flush() -> Iterator[None]:
    """Takes the commit points after the flush: what was sent meanwhile is not acknowledged."""

    async def commit(
        self: Worker, flush: Callable[[], Awaitable[None]], commit: Callable[[Points], Awaitable[bool]]
    ) -> bool:
        await flush()
        points = self.commit_points()
        taken = bool(points) and await commit(points)
        if taken:
            self._committed |= {tp: metadata for tp, (_, metadata) in points.items() if tp in self._folds}
        return taken

    with patched(Worker, commit=commit):
        yield


@mutant(COMMITS)
def commit_p_for_r() -> Iterator[None]:
    """Commits P in place of R: the open panes' events are not read again."""
    with patched(PartitionFold, restart_offset=property(lambda self: self.position)):
        yield


@contextmanager
def _restoring(change: Callable[[Restored, Found], Restored]) -> Iterator[None]:
    def changed(found: Found, *, accept_trimmed_log: bool) -> Restored:
        return change(restore(found, accept_trimmed_log=accept_trimmed_log), found)

    with patched(processors.consumer, restore=changed):
        yield


@mutant(COMMITS, crash=0.02)
def forget_the_frontier() -> Iterator[None]:
    """Forgets the frontier: begins at R as if nothing had been there."""

    def fresh(restored: Restored, found: Found) -> Restored:
        start = restored.read_from
        return Restored(start, Frontier(found.topic_id, start, start, NO_TIME, fingerprint()))

    with _restoring(fresh):
        yield


@mutant(COMMITS, crash=0.02)
def count_from_r() -> Iterator[None]:
    """Counts from R and not from P after a restart."""

    def from_r(restored: Restored, _found: Found) -> Restored:
        return replace(restored, frontier=replace(restored.frontier, position=restored.read_from))

    with _restoring(from_r):
        yield


@mutant(COMMITS, crash=0.02)
def newest_time_not_restored() -> Iterator[None]:
    """Restores P and the counts, but not M."""

    def timeless(restored: Restored, _found: Found) -> Restored:
        return replace(restored, frontier=replace(restored.frontier, newest_ms=NO_TIME))

    with _restoring(timeless):
        yield


@mutant(f"{COMMITS}, {RESULTS}", rebalance=0.1)
def skip_a_record_at_a_rebalance() -> Iterator[None]:
    """Skips one record when partitions are assigned."""
    before = LogConsumer.take_assignment

    def take_assignment(self: LogConsumer) -> int:
        generation = before(self)
        for place in self._consumer._reading.values():
            place.position += self.generation > 1
        return generation

    with patched(LogConsumer, take_assignment=take_assignment):
        yield


@mutant(MUST_STOP, topic_recreated=0.1, crash=0.02)
def topic_id_not_checked() -> Iterator[None]:
    """Goes on though the topic was made anew."""

    def trusting(found: Found, *, accept_trimmed_log: bool) -> Restored:
        if found.committed is None:
            return restore(found, accept_trimmed_log=True)
        offset, metadata = found.committed
        return Restored(offset, Frontier.decode(metadata))

    with patched(processors.consumer, restore=trusting), patched(LogConsumer, _check_topics=lambda self: None):
        yield


@mutant(COMMITS, rebalance=0.1)
def keep_state_over_a_revoke() -> Iterator[None]:
    """Keeps its folds over a revocation and goes on with them."""
    before = Worker.begin

    def begin(self: Worker, generation: int, restored: Mapping[Partition, Restored]) -> None:
        kept = dict(self._folds)
        before(self, generation, restored)
        self._folds |= {tp: fold for tp, fold in kept.items() if tp in restored}

    with patched(Worker, begin=begin, drop_all=lambda self: None):
        yield


@mutant(STOP, rebalance=0.1)
def generation_not_checked() -> Iterator[None]:
    """Takes batches of an older generation."""
    before = Worker.process

    async def process(self: Worker, batch: Batch) -> None:
        await before(self, replace(batch, generation=self._generation))

    with patched(Worker, process=process):
        yield


@mutant(COMMITS, registry_away=0.1)
def state_not_looked_up_again() -> Iterator[None]:
    """Folds a batch that waited for the registry into what took its fold's place."""
    before = Worker._records

    async def records(self: Worker, tp: Partition, stretch: Any, together: Any = None) -> Records:
        fold = self._folds[tp]
        found = await before(self, tp, stretch, together)
        self._folds[tp] = fold
        return found

    with patched(Worker, _records=records):
        yield
