"""The sum of a number's events, held against the view's rows: by partition, by pane where they differ, and in total."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.metrics import Metric
from penstock.pipeline import ALLOWED_DISORDER_MS, PANE_MS
from referee.cut import Cut
from referee.explain_question import MetricQuestion, time_text
from referee.explanation import ABSENT, Line
from referee.recompute import LAST_AT, LAST_EVENT_ID, measure_columns


@dataclass
class Part:
    """What was found of one partition: its events, and by pane what the log makes of them beside the view's rows.

    ``expected`` and ``rows`` have ``pane`` and the metric's measures; ``rows`` has ``final`` and ``next_offset`` too.
    """

    partition: int
    events: pl.DataFrame
    expected: pl.DataFrame
    rows: pl.DataFrame


def lines(asked: MetricQuestion, cut: Cut, parts: Sequence[Part]) -> Iterator[Line]:
    """Yield, for each partition and for all together, each measure by the log and in the view."""
    metric = asked.table.metric
    for part in parts:
        if part.expected.is_empty() and part.rows.is_empty():
            continue
        name = f"partition {part.partition}"
        yield from _beside(metric, name, part.expected, part.rows)
        newest_ms = cut.frontiers[metric.topic, part.partition].newest_ms
        final = part.rows.filter(pl.col("pane") <= newest_ms - ALLOWED_DISORDER_MS - PANE_MS)["final"]
        if len(final):
            yield Line(name, "final", 1, int(final.min()))  # type: ignore[arg-type]
        if asked.end_ms - asked.start_ms > PANE_MS:
            yield from _panes(metric, part)
    if len(parts) > 1:
        columns = ["pane", *measure_columns(metric)]
        whole = [[getattr(part, side) for part in parts] for side in ("expected", "rows")]
        expected, rows = (
            pl.concat([frame.select(columns) for frame in side if len(frame)] or [side[0].select(columns)])
            for side in whole
        )
        yield from _beside(metric, "total", expected, rows)


def _panes(metric: Metric, part: Part) -> Iterator[Line]:
    """Yield the lines of the single panes that differ: in a long window two wrongs can look right."""
    for pane in sorted({*part.expected["pane"], *part.rows["pane"]}):
        sides = (frame.filter(pl.col("pane") == pane) for frame in (part.expected, part.rows))
        lines = _beside(metric, f"partition {part.partition}, {time_text(pane)}", *sides)
        yield from (line for line in lines if not line.equal)


def _beside(metric: Metric, part: str, expected: pl.DataFrame, rows: pl.DataFrame) -> Iterator[Line]:
    by_log, in_view = _merged(metric, expected), _merged(metric, rows)
    for name in measure_columns(metric):
        yield Line(part, name, by_log.get(name, ABSENT), in_view.get(name, ABSENT))


def _merged(metric: Metric, rows: pl.DataFrame) -> dict[str, Any]:
    """Return the measures of rows of several panes or partitions as one; nothing without rows."""
    if rows.is_empty():
        return {}
    ways = {"count": pl.Expr.sum, "sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max}
    if any(measure.aggregate == "last" for measure in metric.measures):
        rows = rows.sort(LAST_AT, LAST_EVENT_ID)
    merged = [
        ways.get(measure.aggregate, pl.Expr.last)(pl.col(measure.name)).alias(measure.name)
        for measure in metric.measures
    ]
    merged += [pl.col(name).last() for name in (LAST_AT, LAST_EVENT_ID) if name in measure_columns(metric)]
    return rows.select(merged).row(0, named=True)
