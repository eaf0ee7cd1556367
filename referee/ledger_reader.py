"""Taking the ledger: the committed frontiers, the broker's offsets, and counts of the views at a consistent cut."""

import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import polars as pl

from penstock.errors import GaveUpWaiting
from penstock.frontier import Frontier
from penstock.settings import Settings
from penstock.waiting import wait_for
from referee.cut import Cut, CutReader, Place
from referee.ledger import Kept, Ledger, Page, first_open_pane_ms
from referee.ledger_truth import load_truth
from referee.scope import Scope
from referee.snapshot import Snapshot, Where, at_least, below, equal
from referee.verify import snapshot_behind

VIEWS = Scope(frozenset(("pane_counts", "late_events", "dead_letters")))
"""The views that keep the other side of the books."""

_SUM = "CAST(coalesce(sum(applied), 0) AS BIGINT)"


def take(settings: Settings, timeout_s: float, truths: Sequence[Path] = ()) -> Ledger:
    """Return the ledger as of now.

    Raises GaveUpWaiting when the broker did not answer within ``timeout_s``, ProtectiveStop when a topic was
    recreated or the configuration is another, UsageError for a truth that is none. Views that are not as far as the
    frontiers by then, or away, are left out, and the ledger says so.
    """
    truth = load_truth(truths) if truths else None
    deadline = time.monotonic() + timeout_s
    with closing(CutReader(settings)) as reader:
        cut = wait_for("the processors' commits", reader.read, timeout_s=timeout_s)
    left_s = max(0.1, deadline - time.monotonic())
    try:
        snapshot = wait_for("the views", lambda: snapshot_behind(settings, cut, VIEWS), timeout_s=left_s)
    except GaveUpWaiting as why:
        return Ledger([_page(cut, place, None) for place in cut.frontiers], truth, str(why))
    with closing(snapshot):
        pages = [_page(cut, place, _kept(snapshot, cut, place)) for place in cut.frontiers]
    return Ledger(pages, truth)


def _page(cut: Cut, place: Place, kept: Kept | None) -> Page:
    low, high = cut.bounds[place]
    return Page(*place, cut.frontiers[place], cut.restarts.get(place), low, high, kept)


def _kept(snapshot: Snapshot, cut: Cut, place: Place) -> Kept:
    topic, partition = place
    frontier = cut.frontiers[place]
    late, dead = (_letters(snapshot, view, frontier, topic, partition) for view in ("late_events", "dead_letters"))
    table = snapshot.table_name("pane_counts")
    here = equal({"source_topic": topic, "source_partition": partition})
    first_open_ms = first_open_pane_ms(frontier.newest_ms)
    (final,) = snapshot.batches(table, {_SUM: pl.Int64}, here & below("window_start", first_open_ms))
    columns = {"next_offset": pl.Int64, "applied": pl.Int64}
    rows = list(snapshot.batches(table, columns, here & at_least("window_start", first_open_ms)))
    opened = pl.concat([pl.DataFrame(schema=columns), *rows])
    ahead = opened.filter(pl.col("next_offset") > frontier.position)
    return Kept(
        late, dead, int(final.item()), int(opened["applied"].sum()) - int(ahead["applied"].sum()),
        int(ahead["applied"].sum()), int(ahead["next_offset"].max() or 0),  # type: ignore[arg-type]
    )  # fmt: skip


def _letters(snapshot: Snapshot, view: str, frontier: Frontier, topic: str, partition: int) -> int:
    """Return how many letters of offsets below ``P`` a view keeps: their keys are its primary key."""
    # All columns of the index that the gauges use, in its order.
    place = equal({"source_topic": topic, "source_partition": partition, "source_topic_id": frontier.topic_id})
    where: Where = place & below("source_offset", frontier.position)
    return snapshot.count(snapshot.table_name(view), where)
