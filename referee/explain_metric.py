"""Explaining a number of a metric's view: the events of its group and window, by partition, and their sum."""

from collections.abc import Iterator

import polars as pl

from penstock.errors import UsageError
from penstock.metrics import Metric
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, PANE_MS
from referee.explain_context import Context, Stretch
from referee.explain_question import MetricQuestion, time_text
from referee.explain_sums import Part, lines
from referee.explain_walk import late_by
from referee.explanation import EVENT, Explanation
from referee.fates import AHEAD_OF_TIME, HEARTBEAT, Settled
from referee.log import PartitionLog
from referee.recompute import contributions_of, fold_at, measure_columns
from referee.sketches import group_types
from referee.snapshot import Where, at_least, below, equal

PENDING = "not in the view yet"
SHOWN_VALUES = 12


def explain_metric(asked: MetricQuestion, at: Context) -> Explanation:
    """Return the explanation of one group in one window.

    Raises UsageError where neither the log nor the view has anything of it.
    """
    metric = asked.table.metric
    numbers = at.partitions(metric.topic)
    if asked.partition is not None and asked.partition not in numbers:
        raise UsageError(f"--key source_partition={asked.partition}: {metric.topic} has {len(numbers)} partitions")
    key = {**asked.group, **({} if asked.partition is None else {"source_partition": asked.partition})}
    if "source_topic" in asked.table.place(0):
        key = {"source_topic": metric.topic, **key}
    gives = tuple(measure.name for measure in metric.measures)
    found = Explanation(asked.view, key, (asked.start_ms, asked.end_ms), pl.DataFrame(schema=EVENT), gives)
    chosen = numbers if asked.partition is None else [asked.partition]
    rows = {number: _rows(asked, at, number) for number in chosen}
    stretches = [
        at.stretch(metric.topic, number, _reached(rows[number]), asked.start_ms) for number in chosen
    ]
    at.progress.begin(sum(stretch.end - stretch.start for stretch in stretches))
    parts = [_Explainer(asked, at, found, stretch, rows[stretch.partition]).part() for stretch in stretches]
    empty = pl.DataFrame(schema=EVENT | dict.fromkeys(gives, pl.Int64))
    found.events = pl.concat([empty, *(part.events for part in parts)], how="diagonal_relaxed")
    if found.events.is_empty() and all(part.rows.is_empty() for part in parts):
        raise UsageError(_nothing(asked, at))
    found.lines = list(lines(asked, at.cut, parts))
    pending = len(found.events.filter((pl.col("fate") == "applied") & pl.col("why").is_not_null()))
    if pending:
        found.notes.append(f"{pending:,} applied events came after the view's early rows, and will be in the next ones")
    return found


def _rows(asked: MetricQuestion, at: Context, partition: int) -> pl.DataFrame:
    where = equal({**asked.table.place(partition), **asked.group}) & _inside("window_start", asked)
    table = at.snapshot.table_name(asked.table.name)
    frames = list(at.snapshot.batches(table, asked.table.columns, where))
    rows = pl.concat([pl.DataFrame(schema=asked.table.columns), *frames])
    return rows.rename({"window_start": "pane"}).sort("pane")


def _inside(column: str, asked: MetricQuestion) -> Where:
    return at_least(column, asked.start_ms) & below(column, asked.end_ms)


def _reached(rows: pl.DataFrame) -> int:
    return int(rows["next_offset"].max() or 0)  # type: ignore[arg-type]


class _Explainer:
    def __init__(
        self, asked: MetricQuestion, at: Context, found: Explanation, stretch: Stretch, rows: pl.DataFrame
    ) -> None:
        self._asked = asked
        self._metric = asked.table.metric
        self._at = at
        self._found = found
        self._stretch = stretch
        self._rows = rows
        self._contributions: list[pl.DataFrame] = []

    def part(self) -> Part:
        """Read the partition, and return what it adds."""
        asked, stretch = self._asked, self._stretch
        closes_ms = asked.end_ms + ALLOWED_DISORDER_MS
        walk, whole_from_ms = self._at.walk(stretch, self._pick, from_ms=asked.start_ms, until_ms=closes_ms)
        self._found.reads.append(stretch.read_to(walk.end))
        if whole_from_ms is not None and whole_from_ms > asked.start_ms:
            self._found.notes.append(
                f"{stretch.topic}/{stretch.partition}: the log begins at offset {stretch.low:,}, so events are missing "
                f"here, and nothing before {time_text(whole_from_ms)} can be proved"
            )
        walked = walk.events()
        events = [frame for frame in (walked, *self._letters(walk.end)) if frame is not None]
        if not events:
            return Part(stretch.partition, pl.DataFrame(schema=EVENT), self._fold(None), self._rows)
        told = pl.concat(events, how="diagonal_relaxed").sort("offset")
        folded = self._fold(told)
        return Part(stretch.partition, self._with_pending(told), folded, self._rows)

    def _pick(self, piece: PartitionLog, judged: Settled) -> pl.DataFrame:
        return self._chosen(piece, judged.frame)

    def _chosen(self, piece: PartitionLog, spine: pl.DataFrame) -> pl.DataFrame:
        """Return what each event of the group and window gives, whatever its fate; note it by pane besides."""
        at = pl.col("occurred_at")
        usable = pl.col("kind").is_not_null() & (pl.col("kind") != HEARTBEAT)
        inside = spine.filter(usable & (at >= self._asked.start_ms) & (at < self._asked.end_ms))
        if inside.is_empty():
            return inside.select("offset")
        candidates = inside.select("offset", "occurred_at", "event_id", pane=at - at % PANE_MS)
        found = contributions_of(self._metric, piece, candidates)
        for name, value in self._asked.group.items():
            found = found.filter(pl.col(name) == value)
        self._contributions.append(found)
        return found.group_by("offset", maintain_order=True).agg(_given(self._metric)).sort("offset")

    def _letters(self, walked_to: int) -> Iterator[pl.DataFrame]:
        """Yield the events of the group and window that only letters hold: they stand elsewhere in the log."""
        stretch, asked = self._stretch, self._asked
        topic_id = self._at.cut.topic_ids[stretch.topic]
        place = equal({"source_topic_id": topic_id, "source_partition": stretch.partition})
        place &= Where("(source_offset < ? OR source_offset >= ?)", (stretch.start, walked_to))
        late = place & _inside("occurred_at", asked)
        yield from self._of_letters("late_events", late, "watermark")
        dead = place & equal({"reason": AHEAD_OF_TIME}) & below("appended_at", asked.end_ms - MAX_AHEAD_MS)
        yield from self._of_letters("dead_letters", dead, "reason")

    def _of_letters(self, view: str, where: Where, more: str) -> Iterator[pl.DataFrame]:
        stretch = self._stretch
        for log, words in self._at.letters(view, stretch.topic, where, more):
            chosen = self._chosen(log, log.spine)
            rows = log.spine.drop("reason").join(chosen, on="offset", how="inner").join(words, on="offset", how="left")
            pane = pl.col("occurred_at") - pl.col("occurred_at") % PANE_MS
            why = late_by(pl.col("watermark") - pane - PANE_MS) if more == "watermark" else pl.col("reason")
            yield rows.with_columns(
                topic=pl.lit(stretch.topic), partition=pl.lit(stretch.partition, pl.Int64),
                fate=pl.lit("late" if more == "watermark" else "dead"), why=why,
            ).select(*EVENT, *chosen.drop("offset").columns)  # fmt: skip

    def _fold(self, events: pl.DataFrame | None) -> pl.DataFrame:
        """Return the metric by pane, by the log: each row from the applied events below its ``next_offset``."""
        if events is None or not self._contributions:
            return pl.DataFrame(schema={"pane": pl.Int64, **dict.fromkeys(measure_columns(self._metric), pl.Int64)})
        applied = events.filter(pl.col("fate") == "applied").select("offset")
        own = pl.concat(self._contributions).join(applied, on="offset", how="semi")
        newest_ms = self._at.cut.frontiers[self._stretch.topic, self._stretch.partition].newest_ms
        closed = pl.col("pane") <= newest_ms - ALLOWED_DISORDER_MS - PANE_MS
        # A row of an open pane may not be there yet.
        needed = closed | pl.col("pane").is_in(self._rows["pane"].implode())
        return fold_at(self._metric, own, self._rows).filter(needed).sort("pane")

    def _with_pending(self, events: pl.DataFrame) -> pl.DataFrame:
        """Say of applied events that the view's rows, or those still to come, do not have them yet."""
        newest_ms = self._at.cut.frontiers[self._stretch.topic, self._stretch.partition].newest_ms
        pane = pl.col("occurred_at") - pl.col("occurred_at") % PANE_MS
        known = events.with_columns(_pane=pane).join(
            self._rows.select(_pane="pane", _next="next_offset"), on="_pane", how="left", maintain_order="left"
        )
        open_still = pl.col("_pane") > newest_ms - ALLOWED_DISORDER_MS - PANE_MS
        behind = (pl.col("offset") >= pl.col("_next")) | (pl.col("_next").is_null() & open_still)
        pending = (pl.col("fate") == "applied") & behind
        why = pl.when(pending).then(pl.lit(PENDING)).otherwise(pl.col("why"))
        return known.with_columns(why=why).drop("_pane", "_next")


def _given(metric: Metric) -> list[pl.Expr]:
    """Return how what one event gives is put together: an order has several items."""
    ways = {"count": pl.Expr.sum, "sum": pl.Expr.sum, "min": pl.Expr.min, "max": pl.Expr.max}
    found = []
    for measure in metric.measures:
        column = pl.col(measure.name)
        given = column.drop_nulls().last() if measure.aggregate == "last" else ways[measure.aggregate](column)
        given = pl.when(column.is_not_null().any()).then(given)  # what it does not have is not 0
        found.append(given.cast(pl.Int64).alias(measure.name))
    return found


def _nothing(asked: MetricQuestion, at: Context) -> str:
    """Say that there is nothing, and what there is."""
    table, group = at.snapshot.table_name(asked.table.name), asked.table.metric.group
    named = " ".join(f"{name}={value}" for name, value in asked.group.items()) or "an event"
    window = f"[{time_text(asked.start_ms)}, {time_text(asked.end_ms)})"
    said = f"{asked.view}: neither the log nor the view has {named} in {window}"
    columns = group_types(asked.table.metric)
    there = next(at.snapshot.batches(table, columns, _inside("window_start", asked)), None) if group else None
    if there is not None:
        values = there.unique().sort(group).head(SHOWN_VALUES)
        words = ", ".join(" ".join(f"{k}={v}" for k, v in row.items()) for row in values.iter_rows(named=True))
        return f"{said}; there is {words}{' …' if there.n_unique() > SHOWN_VALUES else ''}"
    where = equal({**asked.table.place(asked.partition), **asked.group} if asked.partition is not None else asked.group)
    bounds = {"min(window_start)": pl.Int64, "max(window_start)": pl.Int64}
    for condition, what in ((where, "its windows are"), (equal({}), "the view's windows are")):
        (found,) = at.snapshot.batches(table, bounds, condition)
        first, last = found.row(0)
        if first is not None:
            return f"{said}; {what} from {time_text(first)} to {time_text(last)}"
    return f"{said}; the view is empty"
