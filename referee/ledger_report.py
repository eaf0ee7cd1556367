"""The ledger, for people (Rich) and for programs (JSON)."""

import json
from dataclasses import asdict, fields

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from penstock.frontier import Fates
from referee.ledger import Ledger, Page

_SHORT = {"duplicate": "dupl."}
_FATES = tuple(entry.name for entry in fields(Fates))


def to_json(ledger: Ledger) -> str:
    """Return the ledger as one JSON document."""
    return json.dumps(ledger.as_json(), indent=1)


def print_ledger(ledger: Ledger, console: Console) -> None:
    """Print the books by partition, their sums, the producers' truth if it was given, and the verdict."""
    console.print(_books(ledger))
    if ledger.truth:
        console.print(_truth(ledger))
    if any(page.early_gap for page in ledger.pages):
        console.print("  ahead, behind: applied events of open panes, whose early rows come when they come")
    for sentence in ledger.problems():
        console.print(f"  [red]{escape(sentence)}[/]")
    if ledger.views_behind:
        console.print(f"  the views' side is not known: {escape(ledger.views_behind)}")
    flight = f"; {ledger.in_flight:,} in flight" if ledger.in_flight else "; nothing in flight"
    if ledger.problems():
        console.print(f"[bold red]NOT BALANCED[/]{flight}")
    elif ledger.views_behind:
        console.print(f"[bold yellow]BALANCED AS FAR AS KNOWN[/]{flight}")
    else:
        console.print(f"[bold green]BALANCED[/]{flight}")


def _books(ledger: Ledger) -> Table:
    title = "The books: offsets [start, P) by fate; the broker's offsets; what the views keep of it"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("partition", overflow="fold")
    names = ("start", "P", *(_SHORT.get(fate, fate) for fate in _FATES), "off", "in flight", "restart", "log")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("views", overflow="fold")
    for topic in ledger.topics:
        pages = [page for page in ledger.pages if page.topic == topic]
        for page in pages:
            table.add_row(*_row(page))
        sums = asdict(ledger.fates(topic))
        off, flight = sum(page.frontier.imbalance for page in pages), sum(page.in_flight for page in pages)
        numbers = (*sums.values(), off, flight)
        table.add_row(escape(topic), "", "", *(f"{number:,}" for number in numbers), style="bold", end_section=True)
    return table


def _row(page: Page) -> tuple[str, ...]:
    frontier = page.frontier
    numbers = (
        frontier.start, frontier.position, *asdict(frontier.fates).values(), frontier.imbalance, page.in_flight,
    )  # fmt: skip
    restart = "none" if page.restart is None else f"{page.restart:,}"
    log = f"{page.log_start:,}-{page.log_end:,}"
    name = escape(f"{page.topic}/{page.partition}")
    return (name, *(f"{number:,}" for number in numbers), restart, log, _views(page))


def _views(page: Page) -> str:
    kept, fates = page.kept, page.frontier.fates
    if kept is None:
        return "not known"
    said = [f"late {kept.late:,} of {fates.late:,}"] if kept.late != fates.late else []
    said += [f"dead {kept.dead:,} of {fates.dead:,}"] if kept.dead != fates.dead else []
    if page.problems() and kept.applied != fates.applied:
        said.append(f"applied {kept.applied:,} of {fates.applied:,}")
    elif page.early_gap:
        said.append(f"{abs(page.early_gap):,} {'behind' if page.early_gap > 0 else 'ahead'}")
    return ", ".join(said) or "equal"


def _truth(ledger: Ledger) -> Table:
    title = "The producers' truth: what was acknowledged, beside the log and the books"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("topic", overflow="fold")
    for name in ("records", *(_SHORT.get(fate, fate) for fate in _FATES)):
        table.add_column(name, justify="right", overflow="fold")
    for topic in ledger.topics:
        told = ledger.truth.of(topic) if ledger.truth else None
        if told is None:
            continue
        pairs = [(told.acknowledged, ledger.records(topic))]
        pairs += list(zip(asdict(told.fates).values(), asdict(ledger.fates(topic)).values(), strict=True))
        table.add_row(escape(f"{topic}, producers"), *(f"{meant:,}" for meant, _ in pairs))
        table.add_row(escape(f"{topic}, log and books"), *(f"{have:,}" for _, have in pairs), end_section=True)
    return table
