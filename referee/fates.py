"""The fate of every record, decided over the whole log of a partition at once.

The rules are those of ``ARCHITECTURE.md``, "Time, panes and exactly once", written for whole columns and on
purpose in another way than the processors': no batches, no carried state, no set of known ids.
"""

from collections import Counter
from dataclasses import dataclass

import polars as pl

from penstock.frontier import Fates
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, NO_TIME, PANE_MS

HEARTBEAT = "Heartbeat"
AHEAD_OF_TIME = "ahead-of-time"

FATE = pl.Enum(["applied", "duplicate", "late", "dead", "control"])


@dataclass(frozen=True)
class Settled:
    """A partition's log with its fates.

    ``frame`` is the spine (see :data:`referee.log.SPINE`) with ``pane`` (its start, null where the time is
    unusable), ``newest_before`` (``M`` before the record), ``newest`` (``M`` behind it), ``fate``, and the
    ``reason`` of all dead ones.
    """

    start: int
    frame: pl.DataFrame
    newest_at_start_ms: int = NO_TIME

    def counts(self, position: int) -> Fates:
        """Return the books of [start, ``position``); offsets without a record are control."""
        below = self.frame.filter(pl.col("offset") < position)
        by_fate = dict(below.group_by("fate").len().iter_rows())
        gaps = position - self.start - len(below)
        control = by_fate.pop("control", 0) + gaps
        return Fates(**by_fate, control=control)

    def newest_ms(self, position: int) -> int:
        """Return ``M`` at ``position``: the largest event time below it."""
        found = self.frame.filter(pl.col("offset") < position)["newest"]
        return int(found[-1]) if len(found) else self.newest_at_start_ms

    def closes_at(self, panes: pl.Series) -> pl.Series:
        """Return for each pane start the position at which it is final; null where it is still open."""
        needed = panes + (PANE_MS + ALLOWED_DISORDER_MS)
        # ``newest`` ascends: the first record that raises it far enough closes the pane, for all behind it.
        after = self.frame["newest"].search_sorted(needed, side="left")
        positions = pl.concat([self.frame["offset"] + 1, pl.Series([None], dtype=pl.Int64)])
        closed_before = needed <= self.newest_at_start_ms
        return positions.gather(after).zip_with(~closed_before, pl.Series([self.start], dtype=pl.Int64))

    def of(self, fate: str) -> pl.DataFrame:
        """Return the rows of one fate."""
        return self.frame.filter(pl.col("fate") == fate)


def settle(start: int, spine: pl.DataFrame, newest_ms: int = NO_TIME) -> Settled:
    """Decide the fate of every record of ``spine``, the log of one partition from offset ``start`` on.

    ``newest_ms`` is ``M`` at ``start``: see :func:`behind_torn_panes` for a log whose beginning is gone.
    """
    judged = judge(start, spine, newest_ms)
    copies = second_copies(judged.of("applied"))
    if copies.is_empty():
        return judged
    again = pl.col("offset").is_in(copies.implode())
    fate = pl.when(again).then(pl.lit("duplicate", dtype=FATE)).otherwise(pl.col("fate"))
    return Settled(start, judged.frame.with_columns(fate=fate), newest_ms)


def judge(start: int, spine: pl.DataFrame, newest_ms: int) -> Settled:
    """Decide all fates but *duplicate*, as :func:`settle`: second copies are among the applied.

    Of a log that is read in pieces each can be judged for itself, with the ``M`` behind the one before; second copies
    are known when their pane is whole.
    """
    ahead = pl.col("occurred_at") > pl.col("appended_at") + MAX_AHEAD_MS
    frame = spine.with_columns(
        reason=pl.when(ahead).then(pl.lit(AHEAD_OF_TIME)).otherwise(pl.col("reason")),
    ).with_columns(
        # A record that can't be used has no time: it never raises M.
        usable_at=pl.when(pl.col("reason").is_null()).then(pl.col("occurred_at")),
    )
    highest = pl.col("usable_at").cum_max().forward_fill()
    newest = pl.max_horizontal(highest, pl.lit(newest_ms, dtype=pl.Int64))
    frame = frame.with_columns(
        pane=pl.col("usable_at") - pl.col("usable_at") % PANE_MS,
        newest=newest,
        newest_before=newest.shift(1, fill_value=newest_ms),
    )
    closed = pl.col("pane") + PANE_MS <= pl.col("newest_before") - ALLOWED_DISORDER_MS
    frame = frame.with_columns(
        fate=pl.when(pl.col("reason").is_not_null())
        .then(pl.lit("dead"))
        .when(pl.col("kind") == HEARTBEAT)
        .then(pl.lit("control"))
        .when(closed)
        .then(pl.lit("late"))
        .otherwise(pl.lit("applied"))
        .cast(FATE)
    )
    return Settled(start, frame.drop("usable_at"), newest_ms)


def behind_torn_panes(spine: pl.DataFrame) -> int:
    """Return the ``M`` to begin with where the log's beginning is gone: no pane still open had an event in it.

    No usable event is more than MAX_AHEAD_MS ahead of its append time, and append times ascend.
    """
    if spine.is_empty():
        return NO_TIME
    torn_until = int(spine["appended_at"][0]) + MAX_AHEAD_MS
    whole_from = (torn_until + PANE_MS - 1) // PANE_MS * PANE_MS
    return whole_from + ALLOWED_DISORDER_MS


def second_copies(applied: pl.DataFrame) -> pl.Series:
    """Return the offsets of all but the first of ``applied`` with one (pane, event id); whole panes, by offset."""
    # Few ids come twice: the exact test by pane is only made for those.
    repeated = applied.select("offset", "pane", "event_id").filter(pl.col("event_id").is_duplicated())
    return repeated.filter(~pl.struct("pane", "event_id").is_first_distinct())["offset"]


class Tally:
    """The books of [``start``, ``position``), counted piece by piece of the log."""

    def __init__(self, start: int, position: int, newest_ms: int) -> None:
        """``newest_ms``: ``M`` at ``start``."""
        self.newest_at_start_ms = newest_ms
        self._start = start
        self._position = position
        self._newest_ms = newest_ms
        self._by_fate: Counter[str] = Counter()

    def add(self, judged: Settled) -> None:
        """Count the next piece; second copies count as applied until they are told."""
        below = judged.frame.filter(pl.col("offset") < self._position)
        if not below.is_empty():
            self._by_fate.update(dict(below.group_by("fate").len().iter_rows()))
            self._newest_ms = int(below["newest"][-1])

    def tell_copies(self, offsets: pl.Series) -> None:
        """Take these applied records for second copies."""
        copies = len(offsets.filter(offsets < self._position))
        self._by_fate["applied"] -= copies
        self._by_fate["duplicate"] += copies

    def counts(self) -> Fates:
        """Return the books; offsets without a record are control."""
        gaps = max(0, self._position - self._start) - self._by_fate.total()
        return Fates(**(self._by_fate | Counter(control=self._by_fate["control"] + gaps)))

    def newest_ms(self, position: int) -> int:
        """Return ``M`` at ``position``. Raises ValueError for another one than the tally's."""
        if position != self._position:
            raise ValueError(f"this tally is of position {self._position}, not of {position}")
        return self._newest_ms
