"""The verdict, for people (Rich) and for programs (JSON)."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from penstock.frontier import Fates
from referee.books import Book
from referee.compare import Differences
from referee.ids import SplitIds
from referee.scope import Scope

SHOWN = 50
"""Differences that are printed one by one for people."""


_SHORT = {"duplicate": "dupl."}


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    ``rows`` counts the compared rows by table, ``left_out`` those that were not, since the log behind them is gone or
    was not asked for; ``split_ids`` are the event ids that stand in two partitions, by topic: a warning, not a
    difference, for identity is by partition. ``most_rows_held``: events that were in memory at a time.
    """

    differences: Differences
    books: list[Book]
    rows: dict[str, int]
    events: int
    seconds: float
    unproved_share: float
    accept_trimmed_log: bool
    split_ids: Mapping[str, SplitIds] = field(default_factory=dict)
    scope: Scope = field(default_factory=Scope)
    left_out: Mapping[str, int] = field(default_factory=dict)
    most_rows_held: int = 0

    @property
    def proved(self) -> bool:
        """Whether every number was recomputed and is equal."""
        return not self.differences.total and (self.unproved_share == 0 or self.accept_trimmed_log)

    def as_json(self) -> dict[str, Any]:
        """Return the verdict as plain values."""
        return {
            "proved": self.proved,
            "differences": [difference._asdict() for difference in self.differences.rows],
            "differences_by_view": dict(self.differences.counts),
            "books": [book.as_json() for book in self.books],
            "rows": self.rows,
            "events": self.events,
            "seconds": round(self.seconds, 3),
            "unproved_share": self.unproved_share,
            "events_held_at_most": self.most_rows_held,
            "since_ms": self.scope.whole_from_ms,
            "rows_left_out": dict(self.left_out),
            "ids_in_two_partitions": {topic: asdict(found) for topic, found in self.split_ids.items()},
        }


def to_json(verdict: Verdict) -> str:
    """Return the verdict as one JSON document."""
    return json.dumps(verdict.as_json(), indent=1)


def print_verdict(verdict: Verdict, console: Console) -> None:
    """Print the books, the differences and the verdict."""
    console.print(_books(verdict.books))
    if verdict.differences.total:
        console.print(_differences(verdict.differences))
        for view, count in sorted(verdict.differences.counts.items()):
            console.print(f"  {escape(view)}: {count:,} differences")
    rate = verdict.events / verdict.seconds if verdict.seconds else 0.0
    compared = ", ".join(f"{count:,} of {view}" for view, count in verdict.rows.items())
    console.print(f"rows compared: {escape(compared)}")
    console.print(f"{verdict.events:,} events recomputed in {verdict.seconds:.1f} s ({rate:,.0f} events/s)")
    _print_left_out(verdict, console)
    _print_split_ids(verdict, console)
    if verdict.unproved_share:
        accepted = " (PENSTOCK_ACCEPT_TRIMMED_LOG accepts it)" if verdict.accept_trimmed_log else ""
        share = f"{verdict.unproved_share:.2%} of the settled offsets"
        console.print(f"can't be proved, since the log no longer holds it: {share}{accepted}")
    console.print("[bold green]PROVED[/]" if verdict.proved else "[bold red]NOT PROVED[/]")


def _print_left_out(verdict: Verdict, console: Console) -> None:
    rows = ", ".join(f"{count:,} of {view}" for view, count in verdict.left_out.items() if count)
    if verdict.scope.whole_from_ms is not None:
        since = datetime.fromtimestamp(verdict.scope.whole_from_ms / 1_000, UTC).isoformat()
        console.print(f"only panes, and events of entities, from {since} on; the books were not recounted")
    if rows:
        console.print(f"rows left out, since the log behind them is gone or was not asked for: {escape(rows)}")


def _print_split_ids(verdict: Verdict, console: Console) -> None:
    for topic, found in verdict.split_ids.items():
        if found.count:
            console.print(
                f"[yellow]warning[/]: {found.count:,} event ids stand in two partitions of {escape(topic)} and count "
                "in each. A producer sent them again to another partition: was the topic given more partitions?"
            )
            for event_id, places in found.examples.items():
                console.print(f"  {escape(event_id)}: {escape(', '.join(places))}")


def _books(books: list[Book]) -> Table:
    title = "The books: offsets [from, to) by fate, what the sum is off by, and the log's word"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("partition", overflow="fold")
    for name in ("from", "to", *(_SHORT.get(entry.name, entry.name) for entry in fields(Fates)), "off"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("log", overflow="fold")
    table.add_column("lag", justify="right", overflow="fold")
    for book in books:
        fates = asdict(book.frontier.fates)
        numbers = (book.frontier.start, book.frontier.position, *fates.values(), book.frontier.imbalance)
        lag = max(0, book.log_end - book.frontier.position)
        name = escape(f"{book.topic}/{book.partition}")
        table.add_row(name, *(f"{number:,}" for number in numbers), _agreement(book), f"{lag:,}")
    return table


def _agreement(book: Book) -> str:
    if book.recounted is None:
        return "in part"
    return "equal" if book.recounted == book.frontier.fates else "differs"


def _differences(differences: Differences) -> Table:
    shown = min(SHOWN, len(differences.rows))
    title = f"Differences: {shown:,} of {differences.total:,}"
    table = Table(title=title, title_justify="left")
    for name in ("view", "key", "column", "in the view", "by the log", "offsets"):
        table.add_column(name, overflow="fold")
    for difference in differences.rows[:SHOWN]:
        table.add_row(*map(escape, difference))
    return table
