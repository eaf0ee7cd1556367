"""Deliberate breaks of the rules: what the simulation is worth is that it catches each (``docs/mutants.md``).

A mutant is a context manager that replaces a piece of the real code. Beside it stand the faults that it needs to show:
they are made more frequent, the world stays the same.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

import consumers.materialization
import consumers.materializer
import processors.consumer
import processors.fates
import processors.fold
import processors.worker
from consumers.materialization import Materialization
from consumers.materializer import Fenced, Staged
from consumers.offsets import Move, Stored
from consumers.reader import Reader, Start
from consumers.stores import Store, Transaction
from consumers.view_files import View, render
from penstock.frontier import Fates, Frontier
from penstock.pipeline import NO_TIME, fingerprint
from processors.consumer import Batch, LogConsumer, Partition
from processors.fates import Judged, SeenIds
from processors.fold import PartitionFold, Records, Step
from processors.outbox import Outgoing
from processors.restore import Found, Restored, restore
from processors.worker import Points, Worker

Break = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class Mutant:
    """A break: what it does in a sentence, what catches it, and the faults that are made likely."""

    breaks: Break
    what: str
    caught_by: str
    rates: Mapping[str, float] = field(default_factory=dict)


MUTANTS: dict[str, Mutant] = {}


def _mutant(what: str, caught_by: str, **rates: float) -> Callable[[Callable[[], Iterator[None]]], Break]:
    def register(function: Callable[[], Iterator[None]]) -> Break:
        made = contextmanager(function)
        name = function.__name__.replace("_", "-")
        faults = {kind.replace("_", " "): rate for kind, rate in rates.items()}
        MUTANTS[name] = Mutant(made, what, caught_by, faults)
        return made

    return register


@contextmanager
def _patched(owner: Any, **attributes: Any) -> Iterator[None]:
    before = {name: owner.__dict__[name] for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


_COMMITS, _RESULTS, _LETTERS = "every commit", "every result", "letters by key"
_VIEWS, _STOP, _END = "views at their offsets", "no stop without a loss", "settled at the end"
_MUST_STOP = "a stop where input is lost"

# Commits


@_mutant("commits, then waits for the acknowledgement of what was sent", f"{_RESULTS}, {_LETTERS}", crash=0.02, slow_network=1.0)
def commit_before_acknowledgement() -> Iterator[None]:
    async def commit(
        self: Worker, flush: Callable[[], Awaitable[None]], commit: Callable[[Points], Awaitable[bool]]
    ) -> bool:
        points = self.commit_points()
        taken = bool(points) and await commit(points)
        if taken:
            self._committed |= {tp: metadata for tp, (_, metadata) in points.items() if tp in self._folds}
        await flush()
        return taken

    with _patched(Worker, commit=commit):
        yield


@_mutant("takes the commit points after the flush: what was sent meanwhile is not acknowledged", _RESULTS, crash=0.02, slow_network=1.0)
def points_after_flush() -> Iterator[None]:
    async def commit(
        self: Worker, flush: Callable[[], Awaitable[None]], commit: Callable[[Points], Awaitable[bool]]
    ) -> bool:
        await flush()
        points = self.commit_points()
        taken = bool(points) and await commit(points)
        if taken:
            self._committed |= {tp: metadata for tp, (_, metadata) in points.items() if tp in self._folds}
        return taken

    with _patched(Worker, commit=commit):
        yield


@_mutant("commits P in place of R: the open panes' events are not read again", _COMMITS)
def commit_p_for_r() -> Iterator[None]:
    with _patched(PartitionFold, restart_offset=property(lambda self: self.position)):
        yield


@contextmanager
def _restoring(change: Callable[[Restored, Found], Restored]) -> Iterator[None]:
    def changed(found: Found, *, accept_trimmed_log: bool) -> Restored:
        return change(restore(found, accept_trimmed_log=accept_trimmed_log), found)

    with _patched(processors.consumer, restore=changed):
        yield


@_mutant("forgets the frontier: begins at R as if nothing had been there", _COMMITS, crash=0.02)
def forget_the_frontier() -> Iterator[None]:
    def fresh(restored: Restored, found: Found) -> Restored:
        start = restored.read_from
        return Restored(start, Frontier(found.topic_id, start, start, NO_TIME, fingerprint()))

    with _restoring(fresh):
        yield


@_mutant("counts from R and not from P after a restart", _COMMITS, crash=0.02)
def count_from_r() -> Iterator[None]:
    def from_r(restored: Restored, _found: Found) -> Restored:
        return replace(restored, frontier=replace(restored.frontier, position=restored.read_from))

    with _restoring(from_r):
        yield


@_mutant("restores P and the counts, but not M", _COMMITS, crash=0.02)
def newest_time_not_restored() -> Iterator[None]:
    def timeless(restored: Restored, _found: Found) -> Restored:
        return replace(restored, frontier=replace(restored.frontier, newest_ms=NO_TIME))

    with _restoring(timeless):
        yield


@_mutant("skips one record when partitions are assigned", f"{_COMMITS}, {_RESULTS}", rebalance=0.1)
def skip_a_record_at_a_rebalance() -> Iterator[None]:
    before = LogConsumer.take_assignment

    def take_assignment(self: LogConsumer) -> int:
        generation = before(self)
        for place in self._consumer._reading.values():
            place.position += self.generation > 1
        return generation

    with _patched(LogConsumer, take_assignment=take_assignment):
        yield


@_mutant("goes on though the topic was made anew", _MUST_STOP, topic_recreated=0.1, crash=0.02)
def topic_id_not_checked() -> Iterator[None]:
    def trusting(found: Found, *, accept_trimmed_log: bool) -> Restored:
        if found.committed is None:
            return restore(found, accept_trimmed_log=True)
        offset, metadata = found.committed
        return Restored(offset, Frontier.decode(metadata))

    with _patched(processors.consumer, restore=trusting), _patched(LogConsumer, _check_topics=lambda self: None):
        yield


# Generations


@_mutant("keeps its folds over a revocation and goes on with them", _COMMITS, rebalance=0.1)
def keep_state_over_a_revoke() -> Iterator[None]:
    before = Worker.begin

    def begin(self: Worker, generation: int, restored: Mapping[Partition, Restored]) -> None:
        kept = dict(self._folds)
        before(self, generation, restored)
        self._folds |= {tp: fold for tp, fold in kept.items() if tp in restored}

    with _patched(Worker, begin=begin, drop_all=lambda self: None):
        yield


@_mutant("takes batches of an older generation", _STOP, rebalance=0.1)
def generation_not_checked() -> Iterator[None]:
    before = Worker.process

    async def process(self: Worker, batch: Batch) -> None:
        await before(self, replace(batch, generation=self._generation))

    with _patched(Worker, process=process):
        yield


@_mutant("folds a batch that waited for the registry into what took its fold's place", _COMMITS, registry_away=0.1)
def state_not_looked_up_again() -> Iterator[None]:
    before = Worker._records

    async def records(self: Worker, tp: Partition, stretch: Any) -> Records:
        fold = self._folds[tp]
        found = await before(self, tp, stretch)
        self._folds[tp] = fold
        return found

    with _patched(Worker, _records=records):
        yield


# Fates


@contextmanager
def _judging(change: Callable[[Judged, pl.Series], Judged]) -> Iterator[None]:
    before = processors.fold.judge

    def changed(decoded: Any, appended_ms: pl.Series, newest_ms: int) -> Judged:
        return change(before(decoded, appended_ms, newest_ms), appended_ms)

    with _patched(processors.fold, judge=changed):
        yield


@_mutant("judges an event by a maximum that includes the event behind it", f"{_COMMITS}, {_LETTERS}")
def later_maximum() -> Iterator[None]:
    def newest_before(newest_ms: int) -> pl.Expr:
        later = pl.col("occurred_at").cum_max().shift(-1)
        return pl.max_horizontal(later, pl.lit(newest_ms, dtype=pl.Int64))

    with _patched(processors.fates, _newest_before=newest_before):
        yield


@_mutant("judges all events of a batch by the maximum before the batch", f"{_COMMITS}, {_LETTERS}")
def lateness_by_batch() -> Iterator[None]:
    def newest_before(newest_ms: int) -> pl.Expr:
        return pl.lit(newest_ms, dtype=pl.Int64)

    with _patched(processors.fates, _newest_before=newest_before):
        yield


@_mutant("lets a heartbeat open a pane", f"{_COMMITS}, {_RESULTS}")
def heartbeat_opens_a_pane() -> Iterator[None]:
    before = processors.fates._events

    def events(decoded: Any) -> pl.DataFrame:
        return before(decoded).with_columns(_heartbeat=pl.lit(value=False))

    with _patched(processors.fates, _events=events):
        yield


@_mutant("moves time by the clock: the newest append time that it saw", _COMMITS)
def clock_in_the_fold() -> Iterator[None]:
    def by_the_clock(judged: Judged, appended_ms: pl.Series) -> Judged:
        return replace(judged, newest_ms=max(judged.newest_ms, int(appended_ms.max())))  # type: ignore[arg-type]

    with _judging(by_the_clock):
        yield


@_mutant("uses events that are ahead of time", f"{_COMMITS}, {_LETTERS}")
def ahead_of_time_is_used() -> Iterator[None]:
    with _patched(processors.fates, MAX_AHEAD_MS=1 << 50):
        yield


@_mutant("forgets event ids after a while (a time-to-live) in place of when their pane closes", _COMMITS)
def duplicates_by_time_to_live() -> Iterator[None]:
    before = SeenIds.first_copies

    def first_copies(self: SeenIds, candidates: pl.DataFrame) -> pl.DataFrame:
        found = before(self, candidates)
        for pane, ids in self._by_pane.items():
            newest = found.filter(pl.col("_pane") == pane)["event_id"].to_list()
            self._by_pane[pane] = ids & set(newest[-2:])
        return found

    with _patched(SeenIds, first_copies=first_copies):
        yield


@_mutant("counts offsets without a record as nothing", _COMMITS)
def gaps_not_counted() -> Iterator[None]:
    before = PartitionFold.step

    def step(self: PartitionFold, records: Records) -> Step:
        gap = records.offsets[-1] + 1 - self.position - len(records.offsets)
        found = before(self, records)
        self._fates += Fates(control=-gap)
        return found

    with _patched(PartitionFold, step=step):
        yield


# Folding again


@_mutant("folds again all that lies below P, closed panes too", f"{_RESULTS}, {_COMMITS}", crash=0.02)
def refold_closed_panes() -> Iterator[None]:
    before = PartitionFold.refold

    def refold(self: PartitionFold, records: Records) -> None:
        kept = self._restored
        self._restored = replace(kept, newest_ms=NO_TIME)
        try:
            before(self, records)
        finally:
            self._restored = kept

    with _patched(PartitionFold, refold=refold):
        yield


@_mutant("counts dead letters when they are seen, also those below P, before their batch is settled", _COMMITS, crash=0.02)
def dead_letter_counted_before_it_is_settled() -> Iterator[None]:
    before = PartitionFold.refold

    def refold(self: PartitionFold, records: Records) -> None:
        before(self, records)
        self._fates += Fates(dead=len(records.decoded.rejections))

    with _patched(PartitionFold, refold=refold):
        yield


@_mutant("keeps letters back for the next step, which a commit does not wait for", _LETTERS, crash=0.02, slow_network=1.0)
def letters_not_waited_for() -> Iterator[None]:
    before = Worker._send

    def send(self: Worker, outgoing: Any) -> None:
        held: list[Outgoing] = self.__dict__.setdefault("_held", [])
        now, letters = list(held), []
        held.clear()
        for topic, messages in outgoing:
            is_letter = topic.startswith(("late-events", "dead-letters"))
            (letters if is_letter else now).append(Outgoing(topic, messages))
        held.extend(letters)
        before(self, now)

    with _patched(Worker, _send=send):
        yield


@_mutant("sends early results while it still folds again", _RESULTS, crash=0.02)
def early_results_while_refolding() -> Iterator[None]:
    PartitionFold.complete = property(lambda self: True, lambda self, value: None)  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        del PartitionFold.complete


@_mutant("folds a batch that spans P in one piece", _COMMITS, crash=0.02)
def batch_not_split_at_p() -> Iterator[None]:
    def whole(offsets: Sequence[int], until: int) -> int:
        return len(offsets) if offsets[0] < until else 0

    with _patched(processors.worker, bisect_left=whole):
        yield


# Views


@_mutant("moves a view's offset without looking where it is", _VIEWS, zombie=0.03, rebalance=0.01, backup_restored=0.05)
def no_compare_and_set() -> Iterator[None]:
    move_it = (
        "INSERT INTO offsets (view, version, topic, topic_id, partition, next) "
        "VALUES (:view, :version, :topic, :topic_id, :partition, :new) "
        "ON CONFLICT (view, version, topic, partition) DO UPDATE SET next = :new"
    )

    def advance(transaction: Transaction, version: int, move: Move) -> bool:
        place, topic_id, _, new = move
        row = {**place._asdict(), "version": version, "topic_id": topic_id, "new": new}
        return transaction.execute(move_it, row) == 1

    with _patched(consumers.materializer, advance=advance):
        yield


@_mutant("lets the last writer win: no rule of final and next_offset", _VIEWS, zombie=0.03, rebalance=0.1)
def no_next_offset_rule() -> Iterator[None]:
    def without_rule(sql: str, *args: Any) -> str:
        return render(sql.split("WHERE (excluded.final")[0], *args)

    with _patched(consumers.materializer, render=without_rule):
        yield


@_mutant("commits the offsets, then the rows in a transaction of their own", _VIEWS, crash=0.03)
def offsets_in_another_transaction() -> Iterator[None]:
    def merge(store: Store, view: View, version: int, staged: Staged) -> None:
        with store.transaction() as transaction:
            for move in staged.moves:
                if not consumers.materializer.advance(transaction, version, move):
                    raise Fenced(str(move.place))
        with store.transaction() as transaction:
            for rule, rows in staged.rows:
                table = rule.staging(view.name)
                transaction.stage(table, rows)
                transaction.execute(render(rule.sql, view, version, store.dialect, table))

    with _patched(consumers.materialization, merge=merge):
        yield


@_mutant("a view leaves out final results", f"{_VIEWS}")
def final_results_ignored() -> Iterator[None]:
    before = consumers.materializer._rows

    def rows(rule: Any, topic: Any, frame: pl.DataFrame) -> pl.DataFrame:
        found = before(rule, topic, frame)
        return found.filter(pl.col("final") == 0) if "final" in found.columns else found

    with _patched(consumers.materializer, _rows=rows):
        yield


@_mutant("begins where Kafka's commit says, not where the database does", f"{_VIEWS}, {_STOP}", backup_restored=0.1, crash=0.02)
def view_from_kafkas_commit() -> Iterator[None]:
    before = Reader.start

    def start(self: Reader, starts: Mapping[Partition, Start]) -> None:
        commits = self._consumer.world.broker.group(self._consumer._group).commits
        moved = {p: Start(commits[p].offset, commits[p].offset) if p in commits else s for p, s in starts.items()}
        before(self, moved)

    with _patched(Reader, start=start):
        yield


@_mutant("does not look up its offset after it was fenced", _END, crash=0.0, rebalance=0.01, backup_restored=0.05)
def fenced_and_goes_on() -> Iterator[None]:
    def merge(self: Materialization, view: View, batch: Any, decoded: Any) -> None:
        topic_id = self._topic_ids[batch.topic.name]
        staged = consumers.materialization.stage(view, batch, decoded, topic_id, self.stored)
        if staged is not None:
            try:
                self._patiently("database", lambda: consumers.materialization.merge(self._store, view, 1, staged))
            except Fenced:
                self._meters.fenced(view)
            self.stored.update({move.place: Stored(move.topic_id, move.new) for move in staged.moves})

    with _patched(Materialization, _merge=merge):
        yield


@contextmanager
def mutated(name: str) -> Iterator[Mutant]:
    """Break the real code for as long as the block runs."""
    mutant = MUTANTS[name]
    with ExitStack() as stack:
        stack.enter_context(mutant.breaks())
        yield mutant
