"""What a rebuild found, for people and as JSON."""

import json
from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.rebuild import Comparison
from consumers.rebuild_compare import Difference
from consumers.view_files import version_name

MAX_CELL = 60


def to_json(found: Comparison, *, swapped: bool) -> str:
    """Return one JSON document."""
    document = {
        "view": found.view,
        "pipeline_version": found.pipeline,
        "live": version_name(found.live.version),
        "new": version_name(found.new.version),
        "other_rules": found.other_rules,
        "equal": found.equal,
        "swapped": swapped,
        "lost_offsets": found.lost,
        "skipped_records": dict(found.skipped),
        "offsets": [[place.topic, place.partition, offset] for place, offset in found.offsets.items()],
        "tables": [_plain(table) for table in found.tables],
    }
    return json.dumps(document, indent=2)


def _plain(table: Difference) -> dict[str, Any]:
    examples = [
        {
            "kind": example.kind,
            "key": [_cell(cell) for cell in example.key],
            "cells": {name: {"live": _cell(live), "new": _cell(new)} for name, live, new in example.cells},
        }
        for example in table.examples
    ]
    return {
        "table": table.table, "equal": table.equal, "live_rows": table.live_rows, "new_rows": table.new_rows,
        "only_live": table.only_live, "only_new": table.only_new, "changed": table.changed,
        "changed_by_column": dict(table.by_column), "columns_gone": table.columns_gone,
        "columns_come": table.columns_come, "note": table.note, "examples": examples,
    }  # fmt: skip


def print_comparison(found: Comparison, console: Console) -> None:
    """Print what was built, how it differs from the live build, and examples."""
    live, new = version_name(found.live.version), version_name(found.new.version)
    rules = "other SQL" if found.other_rules else "the same SQL"
    offsets = ", ".join(f"{place.topic}/{place.partition} {offset:,}" for place, offset in found.offsets.items())
    _say(console, f"{found.view}: {new}, by {rules} than {live}, both at {offsets or 'no offset yet'}")
    if found.lost:
        _say(console, f"the log no longer holds {found.lost:,} offsets: what only they made is not in {new}")
    if found.skipped:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.skipped.items()))
        _say(console, f"records that can't be used: {reasons}")
    heads = ("table", f"rows {live}", f"rows {new}", f"only {live}", f"only {new}", "changed", "in columns")
    console.print(_table(heads, ([*_counts(table), _columns(table)] for table in found.tables), numbers=5))
    examples = [(table.table, example) for table in found.tables for example in table.examples]
    if examples:
        rows = (
            [name, each.kind.replace("live", live).replace("new", new), ", ".join(map(_text, each.key)),
             "; ".join(f"{column}: {_text(a)} → {_text(b)}" for column, a, b in each.cells)
             if each.kind == "changed" else ""]
            for name, each in examples
        )  # fmt: skip
        console.print(_table(("table", "row", "key", "what"), rows))
    left = sum(t.only_live + t.only_new + t.changed - len(t.examples) for t in found.tables)
    if left:
        _say(console, f"and {left:,} more rows")
    _say(console, "EQUAL" if found.equal else "DIFFERS")


def _counts(table: Difference) -> list[str]:
    counts = table.live_rows, table.new_rows, table.only_live, table.only_new, table.changed
    return [table.table, *(f"{count:,}" for count in counts)]


def _columns(table: Difference) -> str:
    parts = [f"{name} {count:,}" for name, count in table.by_column.most_common()]
    parts += [f"{name} is gone" for name in table.columns_gone] + [f"{name} is new" for name in table.columns_come]
    return ", ".join([*parts, table.note] if table.note else parts)


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], numbers: int = 0) -> Table:
    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if 1 <= place <= numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _say(console: Console, text: str) -> None:
    console.print(Text(text))


def _cell(value: Any) -> Any:
    return "0x" + value.hex() if isinstance(value, bytes) else value


def _text(value: Any) -> str:
    if value is None:
        return "-"
    text = f"{value:,}" if isinstance(value, int) else str(_cell(value))
    return text if len(text) <= MAX_CELL else f"{text[: MAX_CELL - 1]}…"
