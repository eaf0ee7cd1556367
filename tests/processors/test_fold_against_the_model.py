"""The fold against the naive model: any log, any batches, any crashes, one outcome."""

from collections import Counter
from dataclasses import asdict, replace
from itertools import cycle
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from penstock.frontier import Frontier
from penstock.metrics import metrics_of
from processors.fold import PartitionFold
from simulation.model import PANE_MS, Entry, Told
from tests.processors.harness import Run, newest_rows
from tests.processors.logs import FIRST_PANE, decoder, logs

TOPICS = ("orders", "telemetry")
moves = st.lists(
    st.one_of(
        st.tuples(st.just("feed"), st.integers(1, 25)),
        st.tuples(st.just("early"), st.just(0)),
        st.tuples(st.just("crash"), st.integers(0, 1_000)),
    ),
    max_size=25,
)
thorough = settings(
    max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def play(run: Run, told: Told, chosen: list[tuple[str, int]]) -> None:
    """Play the moves, then go to the end of the log; look at the fold after each."""
    for move, number in chosen:
        if move == "feed":
            run.feed(number)
        elif move == "early":
            run.send_changed()
        else:
            run.restart(number % len(run.commits))
        check_state(run, told)
    while run.feed(7):
        check_state(run, told)
    run.send_changed()


def check_state(run: Run, told: Told) -> None:
    fold = run.fold
    assert fold.frontier.imbalance == 0
    assert asdict(fold.frontier.fates) == {
        **dict.fromkeys(asdict(fold.frontier.fates), 0),
        **told.counts_at(fold.position),
    }
    assert fold.newest_ms == told.newest_at(fold.position)
    if run.reached >= fold.refold_until:
        assert fold.restart_offset == told.restart_offset(fold.position)


def check_sent(run: Run, told: Told) -> None:
    end = run.fold.position
    sent = run.sent
    assert (set(sent.late), set(sent.dead)) == (told.offsets("late"), told.offsets("dead"))
    expected = told.rows_at(run.metrics, end)
    closed = {key: row for key, row in expected.items() if told.is_closed(key[1], end)}
    for key, _, row in sent.final:
        assert row == closed[key]
    assert {key for key, _, _ in sent.final} == set(closed)
    for key, next_offset, row in sent.early:
        assert row == told.rows_at(run.metrics, next_offset)[key]
    kept = newest_rows(sent.early)
    for key in set(expected) - set(closed):
        assert kept[key][1] == expected[key], "an early result that changed last was not sent"


@pytest.mark.parametrize("topic", TOPICS)
@thorough
@given(data=st.data())
def test_any_log_in_any_batches_under_any_crashes_gives_what_the_model_says(topic: str, data: st.DataObject) -> None:
    log: list[Entry] = data.draw(logs(topic))
    told = Told(log)
    run = Run(metrics_of(topic), decoder(topic), log)
    play(run, told, data.draw(moves))
    check_sent(run, told)
    assert Counter(asdict(run.fold.frontier.fates)) == told.counts_at(run.fold.position)


@settings(max_examples=30)
@given(log=logs("orders"), sizes=st.lists(st.integers(1, 20), min_size=1, max_size=10))
def test_the_outcome_does_not_depend_on_the_borders_of_batches(log: list[Entry], sizes: list[int]) -> None:
    def outcome(batches: list[int]) -> tuple[Any, ...]:
        run = Run(metrics_of("orders"), decoder("orders"), log)
        for size in cycle(batches):
            if not run.feed(size):
                break
        final = sorted((key, tuple(row.items())) for key, _, row in run.sent.final)
        return run.commits[-1], final, run.sent.late, run.sent.dead

    assert outcome(sizes) == outcome([1]) == outcome([1_000])


@settings(max_examples=30)
@given(log=logs("telemetry"), count=st.integers(1, 60))
def test_a_committed_frontier_comes_back_as_it_was_and_rebuilds_the_open_panes(log: list[Entry], count: int) -> None:
    run = Run(metrics_of("telemetry"), decoder("telemetry"), log)
    run.feed(count)
    first = run.fold
    restart_offset, metadata = run.commits[-1]
    run.restart(len(run.commits) - 1)
    assert Frontier.decode(metadata) == first.frontier == run.fold.frontier
    below = sum(restart_offset <= entry.offset < first.position for entry in log)
    if below:
        run.feed(below)
    again: PartitionFold = run.fold
    assert (again.restart_offset, again.open_panes) == (first.restart_offset, first.open_panes)
    assert again.frontier == first.frontier
    rows = [{str(row) for _, frame in fold.changed() for row in frame.iter_rows()} for fold in (first, again)]
    assert rows[0] == rows[1]


@settings(max_examples=30)
@given(log=logs("orders"), chosen=moves)
def test_panes_that_may_have_begun_before_a_trimmed_log_are_skipped_and_the_rest_is_exact(
    log: list[Entry], chosen: list[tuple[str, int]]
) -> None:
    log = [replace(log[0], appended_ms=FIRST_PANE - 4 * PANE_MS + 1), *log[1:]]
    start = log[0].offset
    torn_until = log[0].appended_ms + 300_000
    closing = -(-torn_until // 60_000) * 60_000 + 10_000
    told = Told(log, start=start, newest_at_start=closing)
    run = Run(metrics_of("orders"), decoder("orders"), log, start=start, skip_torn=True)
    for move, number in chosen:
        if move == "crash":
            run.restart(number % len(run.commits))
        else:
            run.feed(max(number, 1))
    while run.feed(5):
        pass
    check_state(run, told)
    assert set(run.sent.late) == told.offsets("late")
    assert all(row == told.rows_at(run.metrics, run.fold.position)[key] for key, _, row in run.sent.final)
