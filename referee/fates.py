"""The fate of every record, decided over the whole log of a partition at once.

The rules are those of ``ARCHITECTURE.md``, "Time, panes and exactly once", written for whole columns and on
purpose in another way than the processors': no batches, no carried state, no set of known ids.
"""

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
    return Settled(start, _with_duplicates(frame.drop("usable_at")), newest_ms)


def behind_torn_panes(spine: pl.DataFrame) -> int:
    """Return the ``M`` to begin with where the log's beginning is gone: no pane still open had an event in it.

    No usable event is more than MAX_AHEAD_MS ahead of its append time, and append times ascend.
    """
    if spine.is_empty():
        return NO_TIME
    torn_until = int(spine["appended_at"][0]) + MAX_AHEAD_MS
    whole_from = (torn_until + PANE_MS - 1) // PANE_MS * PANE_MS
    return whole_from + ALLOWED_DISORDER_MS


def _with_duplicates(frame: pl.DataFrame) -> pl.DataFrame:
    """Turn all but the first of the applied records with one (pane, event id) into duplicates."""
    candidates = frame.filter(pl.col("fate") == "applied").select("offset", "pane", "event_id")
    # Few ids come twice: the exact test by pane is only made for those.
    repeated = candidates.filter(pl.col("event_id").is_duplicated())
    again = repeated.filter(~pl.struct("pane", "event_id").is_first_distinct())["offset"]
    if again.is_empty():
        return frame
    return frame.with_columns(
        fate=pl.when(pl.col("offset").is_in(again.implode()))
        .then(pl.lit("duplicate", dtype=FATE))
        .otherwise(pl.col("fate"))
    )
