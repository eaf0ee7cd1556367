"""What a run tells at its end: a table for people, and the truth as JSON for tests."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from penstock.errors import UsageError
from producers.truth import TopicTruth

_FATES = ("applied", "duplicate", "late", "dead", "control")
MAX_LINES_SHOWN = 20


def show_truth(console: Console, title: str, topics: Mapping[str, TopicTruth], seconds: float) -> None:
    """Print what was sent, by topic, fate and record."""
    table = Table(title=title, title_justify="left")
    for name in ("topic", "fate", "record"):
        table.add_column(name)
    for name in ("sent", "acknowledged"):
        table.add_column(name, justify="right")
    for topic, truth in topics.items():
        for fate, kind in sorted(truth.tallies, key=lambda key: (_FATES.index(key[0]), key[1])):
            tally = truth.tallies[fate, kind]
            table.add_row(topic, fate, kind, f"{tally.sent:,}", f"{tally.acknowledged:,}")
        table.add_row(topic, "all", "", f"{truth.sent:,}", f"{truth.acknowledged:,}", end_section=True)
    console.print(table)
    for topic, truth in topics.items():
        console.print(f"{topic}: {_sums(truth)}", soft_wrap=True)
    total = sum(truth.acknowledged for truth in topics.values())
    console.print(f"{total:,} records acknowledged in {seconds:.1f} s ({total / max(seconds, 0.001):,.0f}/s)")


def _sums(truth: TopicTruth) -> str:
    sums = truth.sums["applied"]
    parts = [f"{name.removesuffix('_e4').removesuffix('_e6')} {_figure(name, value)}" for name, value in sums.items()]
    return ", ".join(parts) or "nothing to sum"


def _figure(name: str, value: int) -> str:
    if name.endswith("_e4"):
        return f"{value // 10_000:,}.{value % 10_000:04}"
    return f"{value / 1_000_000:,.3f}" if name.endswith("_e6") else f"{value:,}"


def show_rows(console: Console, skipped: Counter[str], malformed: Sequence[str]) -> None:
    """Print which rows of the files became no event, by reason, and the lines that are wrong."""
    table = Table(title="rows that are no event", title_justify="left")
    table.add_column("reason")
    table.add_column("rows", justify="right")
    for reason, count in sorted(skipped.items()):
        table.add_row(reason, f"{count:,}")
    if malformed:
        table.add_row("malformed", f"{len(malformed):,}")
    if skipped or malformed:
        console.print(table)
    for line in malformed[:MAX_LINES_SHOWN]:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if len(malformed) > MAX_LINES_SHOWN:
        console.print(f"… and {len(malformed) - MAX_LINES_SHOWN:,} more")


def check_writable(path: Path | None) -> None:
    """Raise :class:`UsageError` if the truth could not be written to ``path`` at the end."""
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"--truth: {path} can't be written; name a file in a directory that exists")


def write_truth(path: Path, document: Mapping[str, Any]) -> None:
    """Write the truth whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_text(json.dumps(document, indent=1) + "\n")
    partial.replace(path)
