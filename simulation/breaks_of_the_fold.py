"""Breaks of the fates, of folding again below ``P``, and of what a step sends."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

import processors.fates
import processors.fold
import processors.worker
from penstock.frontier import Fates
from penstock.pipeline import NO_TIME
from processors.fates import Ints, Judged, SeenIds, judge
from processors.fold import PartitionFold, Records, Step
from processors.outbox import Outgoing
from processors.worker import Worker
from simulation.mutants import COMMITS, LETTERS, RESULTS, mutant, patched


@contextmanager
def _judging(change: Callable[[Judged, Sequence[int]], Judged]) -> Iterator[None]:

    def changed(decoded: Any, appended_ms: Sequence[int], newest_ms: int) -> Judged:
        return change(judge(decoded, appended_ms, newest_ms), appended_ms)

    with patched(processors.fold, judge=changed):
        yield


@mutant(f"{COMMITS}, {LETTERS}")
def later_maximum() -> Iterator[None]:
    """Judges an event by a maximum that includes the event behind it."""

    def newest_before(times: Ints, newest_ms: int) -> Ints:
        later: Ints = np.maximum.accumulate(np.maximum(times, newest_ms))
        return np.append(later[1:], newest_ms)[: len(times)]

    with patched(processors.fates, _newest_before=newest_before):
        yield


@mutant(f"{COMMITS}, {LETTERS}")
def lateness_by_batch() -> Iterator[None]:
    """Judges all events of a batch by the maximum before the batch."""

    def newest_before(times: Ints, newest_ms: int) -> Ints:
        return np.full(len(times), newest_ms)

    with patched(processors.fates, _newest_before=newest_before):
        yield


@mutant(f"{COMMITS}, {RESULTS}")
def heartbeat_opens_a_pane() -> Iterator[None]:
    """Lets a heartbeat open a pane."""
    before = processors.fates._events

    def events(decoded: Any) -> pl.DataFrame:
        return before(decoded).with_columns(_heartbeat=pl.lit(value=False))

    with patched(processors.fates, _events=events):
        yield


@mutant(COMMITS)
def clock_in_the_fold() -> Iterator[None]:
    """Moves time by the clock: the newest append time that it saw."""

    def by_the_clock(judged: Judged, appended_ms: Sequence[int]) -> Judged:
        return replace(judged, newest_ms=max(judged.newest_ms, *appended_ms))

    with _judging(by_the_clock):
        yield


@mutant(f"{COMMITS}, {LETTERS}")
def ahead_of_time_is_used() -> Iterator[None]:
    """Uses events that are ahead of time."""
    with patched(processors.fates, MAX_AHEAD_MS=1 << 50):
        yield


@mutant(COMMITS)
def duplicates_by_time_to_live() -> Iterator[None]:
    """Forgets event ids after a while (a time-to-live) in place of when their pane closes."""
    before = SeenIds.first_copies

    def first_copies(self: SeenIds, candidates: pl.DataFrame) -> pl.DataFrame:
        found = before(self, candidates)
        for pane, ids in self._by_pane.items():
            newest = found.filter(pl.col("_pane") == pane)["event_id"].to_list()
            self._by_pane[pane] = ids & set(newest[-2:])
        return found

    with patched(SeenIds, first_copies=first_copies):
        yield


@mutant(COMMITS)
def gaps_not_counted() -> Iterator[None]:
    """Counts offsets without a record as nothing."""
    before = PartitionFold.step

    def step(self: PartitionFold, records: Records) -> Step:
        gap = records.offsets[-1] + 1 - self.position - len(records.offsets)
        found = before(self, records)
        self._fates += Fates(control=-gap)
        return found

    with patched(PartitionFold, step=step):
        yield


@mutant(f"{RESULTS}, {COMMITS}", crash=0.02)
def refold_closed_panes() -> Iterator[None]:
    """Folds again all that lies below P, closed panes too."""
    before = PartitionFold.refold

    def refold(self: PartitionFold, records: Records) -> None:
        kept = self._restored
        self._restored = replace(kept, newest_ms=NO_TIME)
        try:
            before(self, records)
        finally:
            self._restored = kept

    with patched(PartitionFold, refold=refold):
        yield


@mutant(COMMITS, crash=0.02)
def dead_letter_counted_before_it_is_settled() -> Iterator[None]:
    """Counts dead letters when they are seen, also those below P, before their batch is settled."""
    before = PartitionFold.refold

    def refold(self: PartitionFold, records: Records) -> None:
        before(self, records)
        self._fates += Fates(dead=len(records.decoded.rejections))

    with patched(PartitionFold, refold=refold):
        yield


@mutant(LETTERS, crash=0.02, slow_network=1.0)
def letters_not_waited_for() -> Iterator[None]:
    """Keeps letters back for the next step, which a commit does not wait for."""
    before = Worker._send

    def send(self: Worker, outgoing: Any) -> None:
        held: list[Outgoing] = self.__dict__.setdefault("_held", [])
        now = list(held)
        letters: list[Outgoing] = []
        held.clear()
        for topic, messages in outgoing:
            is_letter = topic.startswith(("late-events", "dead-letters"))
            (letters if is_letter else now).append(Outgoing(topic, messages))
        held.extend(letters)
        before(self, now)

    with patched(Worker, _send=send):
        yield


@mutant(RESULTS, crash=0.02)
def early_results_while_refolding() -> Iterator[None]:
    """Sends early results while it still folds again."""
    folds: Any = PartitionFold
    folds.complete = property(lambda self: True, lambda self, value: None)
    try:
        yield
    finally:
        del folds.complete


@mutant(COMMITS, crash=0.02)
def batch_not_split_at_p() -> Iterator[None]:
    """Folds a batch that spans P in one piece."""

    def whole(offsets: Sequence[int], until: int) -> int:
        return len(offsets) if offsets[0] < until else 0

    with patched(processors.worker, bisect_left=whole):
        yield
