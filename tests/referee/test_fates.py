"""The fates by whole columns, against the rules told event by event."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from referee.fates import behind_torn_panes
from simulation.model import AHEAD_MS, DISORDER_MS, PANE_MS, Entry, Told
from tests.processors.logs import APPENDED_MS, FIRST_PANE, entry, heartbeat, logs, order
from tests.referee.worlds import end_of, patient, read, start_of

topics = st.sampled_from(("orders", "telemetry"))


def placed(offset: int, number: int, at_ms: int) -> Entry:
    return entry("orders", "OrderPlaced", order("OrderPlaced", number, FIRST_PANE + at_ms, 1), offset)


@patient
@given(topics.flatmap(lambda topic: st.tuples(st.just(topic), logs(topic))))
def test_every_record_has_the_fate_that_the_rules_give_it(drawn: tuple[str, list[Entry]]) -> None:
    topic, entries = drawn
    told = Told(entries, start_of(entries))
    _, settled = read(topic, entries)
    assert dict(settled.frame.select("offset", "fate").iter_rows()) == told.fates
    assert dict(settled.frame.select("offset", "newest").iter_rows()) == told.newest


@patient
@given(logs("orders"), st.data())
def test_the_books_and_the_newest_time_are_right_at_any_offset(entries: list[Entry], data: st.DataObject) -> None:
    told = Told(entries, start_of(entries))
    _, settled = read("orders", entries)
    position = data.draw(st.integers(start_of(entries), end_of(entries)))
    counts = settled.counts(position)
    expected = told.counts_at(position)
    assert {name: getattr(counts, name) for name in ("applied", "duplicate", "late", "dead", "control")} == {
        name: expected[name] for name in ("applied", "duplicate", "late", "dead", "control")
    }
    assert counts.total == position - start_of(entries)
    assert settled.newest_ms(position) == told.newest_at(position)


@patient
@given(logs("orders"))
def test_a_pane_is_final_from_the_first_offset_at_which_the_watermark_reaches_its_end(entries: list[Entry]) -> None:
    told = Told(entries, start_of(entries))
    _, settled = read("orders", entries)
    panes = [FIRST_PANE + number * PANE_MS for number in range(-1, 9)]
    positions = range(start_of(entries), end_of(entries) + 1)
    expected = [next((p for p in positions if told.is_closed(pane, p)), None) for pane in panes]
    assert settled.closes_at(pl.Series(panes)).to_list() == expected


def test_offsets_without_a_record_are_control() -> None:
    _, settled = read("orders", [placed(3, 1, 0), placed(9, 2, 0)])
    assert settled.counts(12).control == 7
    assert settled.counts(12).total == 9


def test_a_heartbeat_too_far_ahead_is_dead_and_closes_nothing() -> None:
    ahead = heartbeat(1, APPENDED_MS + AHEAD_MS + 1)
    _, settled = read("orders", [entry("orders", "Heartbeat", ahead, 0), placed(1, 2, 0)])
    assert settled.frame["fate"].to_list() == ["dead", "applied"]
    assert settled.frame["reason"].to_list() == ["ahead-of-time", None]


def test_a_log_whose_beginning_is_gone_starts_behind_the_panes_that_may_be_torn() -> None:
    first = placed(50, 1, 0)
    log, _ = read("orders", [first])
    newest_ms = behind_torn_panes(log.spine)
    assert newest_ms - DISORDER_MS == -(-(first.appended_ms + AHEAD_MS) // PANE_MS) * PANE_MS
    _, settled = read("orders", [first], newest_ms)
    assert settled.frame["fate"].to_list() == ["late"]
    assert settled.newest_ms(51) == newest_ms


@pytest.mark.parametrize("position", [0, 5])
def test_a_log_without_records_has_nothing_but_control(position: int) -> None:
    empty: list[Any] = []
    _, settled = read("orders", empty)
    assert settled.counts(position).control == position
