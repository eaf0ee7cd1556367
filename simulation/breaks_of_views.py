"""Breaks of the views: the compare-and-set, what enters, and where reading begins."""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

import consumers.materialization
import consumers.materializer
from consumers.materializer import Fenced, Staged
from consumers.offsets import Move, advance
from consumers.reader import Reader, Start
from consumers.stores import Store, Transaction
from consumers.view_files import View, render
from simulation.kafka import Partition
from simulation.mutants import STOP, VIEWS, mutant, patched


@mutant(VIEWS, zombie=0.0, rebalance=0.0, crash=0.0, backup_restored=0.03)
def no_compare_and_set() -> Iterator[None]:
    """Moves a view's offset without looking where it is."""
    move_it = (
        "INSERT INTO offsets (view, version, topic, topic_id, partition, next) "
        "VALUES (:view, :version, :topic, :topic_id, :partition, :new) "
        "ON CONFLICT (view, version, topic, partition) DO UPDATE SET next = :new"
    )

    def advance(transaction: Transaction, version: int, move: Move) -> bool:
        place, topic_id, _, new = move
        row = {**place._asdict(), "version": version, "topic_id": topic_id, "new": new}
        return transaction.execute(move_it, row) == 1

    with patched(consumers.materializer, advance=advance):
        yield


@mutant(VIEWS, zombie=0.03, rebalance=0.1)
def no_next_offset_rule() -> Iterator[None]:
    """Lets the last writer win: no rule of final and next_offset."""

    def without_rule(sql: str, *args: Any) -> str:
        return render(sql.split("WHERE (excluded.final", maxsplit=1)[0], *args)

    with patched(consumers.materializer, render=without_rule):
        yield


@mutant(VIEWS, crash=0.03)
def offsets_in_another_transaction() -> Iterator[None]:
    """Commits the offsets, then the rows in a transaction of their own."""

    def in_two(store: Store, view: View, version: int, staged: Staged) -> None:
        with store.transaction() as transaction:
            for move in staged.moves:
                if not advance(transaction, version, move):
                    raise Fenced(str(move.place))
        with store.transaction() as transaction:
            for rule, rows in staged.rows:
                table = rule.staging(view.name)
                transaction.merge(render(rule.sql, view, version, store.dialect, table), table, rows)

    with patched(consumers.materialization, merge=in_two):
        yield


@mutant(VIEWS)
def final_results_ignored() -> Iterator[None]:
    """A view leaves out final results."""
    before = consumers.materializer._rows

    def rows(rule: Any, topic: Any, frame: pl.DataFrame) -> pl.DataFrame:
        found = before(rule, topic, frame)
        return found.filter(pl.col("final") == 0) if "final" in found.columns else found

    with patched(consumers.materializer, _rows=rows):
        yield


@mutant(f"{VIEWS}, {STOP}", backup_restored=0.1, crash=0.02)
def view_from_kafkas_commit() -> Iterator[None]:
    """Begins where Kafka's commit says, not where the database does."""
    before = Reader.start

    def start(self: Reader, starts: Mapping[Partition, Start]) -> None:
        client: Any = self._consumer
        commits = client.world.broker.group(client._group).commits
        moved = {p: Start(commits[p].offset, commits[p].offset) if p in commits else s for p, s in starts.items()}
        before(self, moved)

    with patched(Reader, start=start):
        yield
