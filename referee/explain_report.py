"""An explanation for people (Rich)."""

from typing import Any

import polars as pl
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from referee.explain_entity import GAVE
from referee.explain_question import time_text
from referee.explanation import Explanation, Line

SHOWN_EVENTS = 100
"""Events that are listed for people: the first and the last of them."""

_WORDS = {"appended_at": "appended", "occurred_at": "occurred", "event_id": "event id", "why": ""}
_STYLES = {"applied": "", "duplicate": "dim", "late": "yellow", "dead": "red"}


def print_explanation(explanation: Explanation, console: Console) -> None:
    """Print the events, their sum beside the view's, what was read, and the verdict."""
    day = _day(explanation.events)
    _print_title(explanation, day, console)
    console.print(_events(explanation, day))
    hidden = len(explanation.events) - SHOWN_EVENTS
    if hidden > 0:
        console.print(f"  … {hidden:,} of the {len(explanation.events):,} events are not listed (--json lists all)")
    console.print(_sums(explanation) if explanation.window else _cells(explanation))
    for note in explanation.notes:
        console.print(f"  {escape(note)}")
    read = ", ".join(f"{each.topic}/{each.partition} [{each.start:,}, {each.end:,})" for each in explanation.reads)
    console.print(
        f"read: {explanation.records_read:,} of {explanation.records_there:,} offsets: {escape(read)}", highlight=False
    )
    differing = sum(not line.equal for line in explanation.lines)
    console.print("[bold green]EQUAL[/]" if explanation.equal else f"[bold red]DIFFERS[/] in {differing}")


def _day(events: pl.DataFrame) -> str:
    """Return the date that all times of the events have; nothing if they have several."""
    times = [*events["appended_at"], *events["occurred_at"].drop_nulls()]
    days = {time_text(at).partition("T")[0] for at in times}
    return days.pop() if len(days) == 1 else ""


def _print_title(explanation: Explanation, day: str, console: Console) -> None:
    key = " ".join(f"{name}={value}" for name, value in explanation.key.items())
    window = ""
    if explanation.window:
        start, end = map(time_text, explanation.window)
        window = f" in [{start}, {end})"
    fates = explanation.events.group_by("fate").len().sort("fate")
    counted = ", ".join(f"{count:,} {fate}" for fate, count in fates.iter_rows()) or "none"
    on = f", times of {day}" if day else ""
    title = f"{explanation.view} {key}{window}: events: {counted}{on}"
    console.print(escape(title), highlight=False)


def _events(explanation: Explanation, day: str) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    given = (GAVE,) if GAVE in explanation.gives else explanation.gives
    table.add_column("place", overflow="fold", no_wrap=True)
    for name in ("appended_at", "occurred_at", "event_id", "kind", "fate"):
        table.add_column(_WORDS.get(name, name), overflow="fold")
    for name in given:
        table.add_column(name, justify="left" if name == GAVE else "right", overflow="fold")
    for row in _shown(explanation.events).iter_rows(named=True):
        place = f"{row['topic']}/{row['partition']}@{row['offset']}"
        fate = " ".join(filter(None, (row["fate"], row["why"])))
        times = (time_text(row[name]).removeprefix(f"{day}T") for name in ("appended_at", "occurred_at"))
        counts = row["fate"] == "applied" or GAVE in given
        numbers = (_cell(row[name]) if counts or row[name] is None else f"({_cell(row[name])})" for name in given)
        cells = (place, *times, row["event_id"] or "", row["kind"] or "", fate, *numbers)
        table.add_row(*map(escape, cells), style=_STYLES.get(row["fate"], ""))
    return table


def _shown(events: pl.DataFrame) -> pl.DataFrame:
    if len(events) <= SHOWN_EVENTS:
        return events
    return pl.concat([events.head(SHOWN_EVENTS // 2), events.tail(SHOWN_EVENTS // 2)])


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _sums(explanation: Explanation) -> Table:
    """A row a partition, a column a measure: one number where log and view agree, else both."""
    table = Table(box=None, padding=(0, 1, 0, 0), title="their sum, beside the view's value", title_justify="left")
    columns = list(dict.fromkeys(line.column for line in explanation.lines))
    table.add_column("", overflow="fold")
    for name in columns:
        table.add_column(name, justify="right", overflow="fold")
    for part in dict.fromkeys(line.part for line in explanation.lines):
        lines = {line.column: line for line in explanation.lines if line.part == part}
        cells = (_both(lines[name]) if name in lines else Text() for name in columns)
        table.add_row(Text(part), *cells)
    return table


def _both(line: Line) -> Text:
    by_log, in_view = (_value(line.column, value) for value in (line.by_log, line.in_view))
    return Text(by_log) if line.equal else Text(f"log {by_log}, view {in_view}", style="bold red")


def _cells(explanation: Explanation) -> Table:
    """A row a cell of the view's row."""
    title = "what they make, beside the view's value"
    table = Table(box=None, padding=(0, 1, 0, 0), title=title, title_justify="left")
    sources = any(line.source for line in explanation.lines)
    for name in ("of", "column", "by the log", "in the view", "", *(("given by",) if sources else ())):
        table.add_column(name, overflow="fold")
    for line in explanation.lines:
        if line.by_log is None and line.in_view is None:
            continue
        by_log, in_view = (_value(line.column, value) for value in (line.by_log, line.in_view))
        verdict = "equal" if line.equal else "DIFFERS"
        cells = (line.part, line.column, by_log, in_view, verdict, *((line.source,) if sources else ()))
        table.add_row(*map(escape, cells), style="" if line.equal else "bold red")
    return table


def _value(column: str, value: Any) -> str:
    if value is None:
        return "null"
    if column.endswith("_at") or column == "watermark":
        return time_text(value) if isinstance(value, int) else str(value)
    return _cell(value)
