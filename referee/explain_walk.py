"""A walk along one partition's log for a few of its events: their fates, and which of them are second copies.

Held are the events asked for, and the ids of panes that are open.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import polars as pl

from penstock.pipeline import ALLOWED_DISORDER_MS, NO_TIME, PANE_MS
from referee.explanation import EVENT
from referee.fates import Settled, behind_torn_panes, judge
from referee.log import PartitionLog

Pick = Callable[[PartitionLog, Settled], pl.DataFrame]
"""Returns the ``offset`` of each event of a piece that is asked for, once, and columns of what it gives."""

_COPY = {"offset": pl.Int64, "first": pl.Int64}


class _Ids:
    """The ids of applied events by pane, until the pane is whole."""

    def __init__(self) -> None:
        self._held: list[pl.DataFrame] = []
        self.copies: list[pl.DataFrame] = []

    def add(self, judged: Settled, from_ms: int, newest_ms: int) -> None:
        """Take the next piece; only panes from ``from_ms`` on matter."""
        applied = judged.of("applied").filter(pl.col("pane") >= from_ms).select("offset", "pane", "event_id")
        self._held.append(applied)
        self.settle(newest_ms - ALLOWED_DISORDER_MS - PANE_MS)

    def settle(self, until_ms: int | None) -> None:
        """Tell the second copies of panes that start at ``until_ms`` or before (None: of all), and forget those."""
        held = pl.concat(self._held) if self._held else pl.DataFrame()
        if held.is_empty():
            return
        whole = held if until_ms is None else held.filter(pl.col("pane") <= until_ms)
        self._held = [] if until_ms is None else [held.filter(pl.col("pane") > until_ms)]
        repeated = whole.filter(pl.col("event_id").is_duplicated())
        first = repeated.with_columns(first=pl.col("offset").min().over("pane", "event_id"))
        self.copies.append(first.filter(pl.col("offset") > pl.col("first")).select(list(_COPY)))


@dataclass
class Walk:
    """The events that were picked: :data:`referee.explanation.EVENT` and what they give, by offset."""

    topic: str
    partition: int
    pick: Pick
    newest_ms: int = NO_TIME
    from_ms: int = NO_TIME
    end: int = 0
    picked: list[pl.DataFrame] = field(default_factory=list)
    _ids: _Ids = field(default_factory=_Ids)

    def along(
        self, pieces: Iterable[PartitionLog], *, torn: bool = False, until_ms: int | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> "Walk":  # fmt: skip
        """Go along the pieces, in order; stop when ``M`` has reached ``until_ms`` (None: at their end).

        ``torn``: the log's beginning is gone, so that panes which may have begun before it are left out.
        """
        for number, piece in enumerate(pieces):
            if torn and not number:
                self.newest_ms = behind_torn_panes(piece.spine)
            self._step(piece)
            advance(piece.end - piece.start)
            if until_ms is not None and self.newest_ms >= until_ms:
                break
        return self

    def _step(self, piece: PartitionLog) -> None:
        judged = judge(piece.start, piece.spine, self.newest_ms)
        self.end = piece.end
        if judged.frame.is_empty():
            return
        self.newest_ms = int(judged.frame["newest"][-1])
        self._ids.add(judged, self.from_ms, self.newest_ms)
        chosen = self.pick(piece, judged)
        if len(chosen):
            self.picked.append(described(self.topic, self.partition, judged.frame, chosen))

    def events(self) -> pl.DataFrame | None:
        """Return what was picked, by offset, second copies told; None: nothing."""
        if not self.picked:
            return None
        self._ids.settle(None)
        copies = pl.concat([pl.DataFrame(schema=_COPY), *self._ids.copies])
        found = pl.concat(self.picked, how="diagonal").join(copies, on="offset", how="left", maintain_order="left")
        again = pl.col("first").is_not_null()
        why = pl.format("copy of {}@{}", pl.lit(f"{self.topic}/{self.partition}"), pl.col("first"))
        return found.with_columns(
            fate=pl.when(again).then(pl.lit("duplicate")).otherwise(pl.col("fate")),
            why=pl.when(again).then(why).otherwise(pl.col("why")),
        ).drop("first")


def described(topic: str, partition: int, settled: pl.DataFrame, chosen: pl.DataFrame) -> pl.DataFrame:
    """Return ``chosen`` (``offset`` and what the events give) with what there is to say of each event.

    ``settled`` is the frame of :class:`referee.fates.Settled`.
    """
    rows = settled.join(chosen, on="offset", how="inner", maintain_order="left")
    late_ms = pl.col("newest_before") - ALLOWED_DISORDER_MS - (pl.col("pane") + PANE_MS)
    why = pl.when(pl.col("fate") == "late").then(late_by(late_ms)).otherwise(pl.col("reason"))
    known = rows.with_columns(
        topic=pl.lit(topic), partition=pl.lit(partition, pl.Int64), fate=pl.col("fate").cast(pl.String), why=why,
    )  # fmt: skip
    return known.select(*EVENT, *(name for name in chosen.columns if name != "offset"))


def late_by(late_ms: pl.Expr) -> pl.Expr:
    """Return in words how long, in event time, a pane had been final."""
    return pl.format("by {} s", (late_ms / 1000).round(3))
