"""A log that is read in pieces says what it says when it is read whole; only the events of open panes are held."""

from itertools import pairwise

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.metrics import metrics_of
from penstock.pipeline import NO_TIME, PANE_MS, watermark
from referee.fates import Tally, judge, settle
from referee.log import PartitionLog
from referee.panes import OpenPanes
from referee.recompute import contributions, contributions_of, fold
from simulation.model import Entry
from tests.processors.logs import FIRST_PANE, entry, logs, order, reading
from tests.referee.worlds import end_of, patient, read, start_of

drawn_logs = st.sampled_from(("orders", "telemetry")).flatmap(lambda topic: st.tuples(st.just(topic), logs(topic)))


def piece_of(log: PartitionLog, begin: int, end: int) -> PartitionLog:
    def chosen(frame: pl.DataFrame) -> pl.DataFrame:
        return frame.filter(pl.col("offset").is_between(begin, end, closed="left"))

    frames = ({name: chosen(frame) for name, frame in part.items()} for part in (log.records, log.items))
    return PartitionLog(begin, end, chosen(log.spine), *frames)


def pieces_of(log: PartitionLog, borders: list[int]) -> list[PartitionLog]:
    ends = sorted({*borders, log.start, log.end})
    parts = (piece_of(log, begin, end) for begin, end in pairwise(ends))
    return [part for part in parts if len(part.spine)]


def folded(topic: str, log: PartitionLog, borders: list[int], tally: Tally) -> tuple[dict[str, pl.DataFrame], int]:
    """Return all metrics, folded pane by pane as they are closed, and the largest number of events held."""
    panes, newest_ms, held = OpenPanes(topic), NO_TIME, 0
    parts: dict[str, list[pl.DataFrame]] = {metric.name: [] for metric in metrics_of(topic)}
    judged = judge(log.start, log.spine.clear(), newest_ms)

    def close(until_ms: int | None) -> None:
        closed = panes.close(until_ms, judged.closes_at)
        tally.tell_copies(closed.copies)
        for metric in metrics_of(topic):
            parts[metric.name].append(fold(metric, contributions_of(metric, closed.log, closed.applied)))

    for piece in pieces_of(log, borders):
        judged = judge(piece.start, piece.spine, newest_ms)
        newest_ms = int(judged.frame["newest"][-1])
        tally.add(judged)
        panes.add(piece, judged)
        held = max(held, panes.rows)
        close(watermark(newest_ms) // PANE_MS * PANE_MS)
    close(None)
    return {name: pl.concat(frames) for name, frames in parts.items()}, held


@patient
@given(drawn_logs, st.data())
def test_the_borders_of_pieces_change_neither_a_number_nor_the_books(
    drawn: tuple[str, list[Entry]], data: st.DataObject
) -> None:
    topic, entries = drawn
    log, settled = read(topic, entries)
    offsets = st.integers(start_of(entries), end_of(entries))
    borders, position = data.draw(st.lists(offsets, max_size=8)), data.draw(offsets)
    tally = Tally(log.start, position, NO_TIME)
    found, _ = folded(topic, log, borders, tally)
    for metric in metrics_of(topic):
        whole = fold(metric, contributions(metric, log, settled))
        keys = ["pane", *metric.group]
        assert found[metric.name].sort(keys).rows() == whole.sort(keys).rows()
    assert tally.counts() == settled.counts(position)
    assert tally.newest_ms(position) == settled.newest_ms(position)


@patient
@given(drawn_logs, st.data())
def test_a_pane_is_final_at_the_same_offset_whatever_the_pieces(
    drawn: tuple[str, list[Entry]], data: st.DataObject
) -> None:
    topic, entries = drawn
    log, settled = read(topic, entries)
    borders = data.draw(st.lists(st.integers(start_of(entries), end_of(entries)), max_size=8))
    panes = pl.Series([FIRST_PANE + number * PANE_MS for number in range(-1, 9)])
    found: dict[int, int | None] = {}
    newest_ms = NO_TIME
    for piece in pieces_of(log, borders):
        judged = judge(piece.start, piece.spine, newest_ms)
        newest_ms = int(judged.frame["newest"][-1])
        at = dict(zip(panes, judged.closes_at(panes), strict=True))
        found |= {pane: at[pane] for pane in panes if at[pane] is not None and pane not in found}
    assert {pane: found.get(pane) for pane in panes} == dict(zip(panes, settled.closes_at(panes), strict=True))


@pytest.mark.parametrize("topic", ["orders", "telemetry"])
def test_the_events_that_are_held_do_not_grow_with_the_log(topic: str) -> None:
    make, record = {"orders": (order, "OrderPlaced"), "telemetry": (reading, "ReadingTaken")}[topic]
    a_pane, piece = 40, 50

    def held(count: int) -> int:
        step = PANE_MS // a_pane
        events = [make(record, n, FIRST_PANE + n * step, n % 9) for n in range(count)]
        log, _ = read(topic, [entry(topic, record, event, n, 1 << 42) for n, event in enumerate(events)])
        tally = Tally(0, count, NO_TIME)
        _, most = folded(topic, log, list(range(0, count, piece)), tally)
        assert tally.counts().applied == count
        return most

    assert held(400) == held(4_000) <= piece + 2 * a_pane


def test_a_tally_answers_for_its_own_position_only() -> None:
    with pytest.raises(ValueError, match="of position 5, not of 6"):
        Tally(0, 5, NO_TIME).newest_ms(6)


def test_settling_whole_is_judging_and_telling_copies() -> None:
    events = [entry("orders", "OrderPaid", order("OrderPaid", 1, FIRST_PANE, 1), n) for n in range(3)]
    log, _ = read("orders", events)
    assert judge(0, log.spine, NO_TIME).frame["fate"].to_list() == ["applied"] * 3
    assert settle(0, log.spine).frame["fate"].to_list() == ["applied", "duplicate", "duplicate"]
