"""Fates and the ids of open panes."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.pipeline import NO_TIME
from processors.fates import PANE, SeenIds, judge, longest_run
from simulation.model import AHEAD_MS
from tests.processors.logs import APPENDED_MS, FIRST_PANE, decoder, encoder, heartbeat, order


def placed(*times: int) -> list[bytes]:
    return [encoder("OrderPlaced", "orders").encode(order("OrderPlaced", n, t, n)) for n, t in enumerate(times)]


def judged(values: list[bytes], appended_ms: int = APPENDED_MS, newest_ms: int = NO_TIME):  # type: ignore[no-untyped-def]
    return judge(decoder("orders").decode(values), [appended_ms] * len(values), newest_ms)


def test_an_event_is_late_from_the_moment_on_that_the_watermark_reaches_the_end_of_its_pane() -> None:
    end = FIRST_PANE + 60_000
    assert judged(placed(end + 9_999, FIRST_PANE)).late.is_empty()
    assert judged(placed(end + 10_000, FIRST_PANE)).late["_index"].to_list() == [1]


def test_lateness_is_told_by_what_came_before_within_a_batch_and_before_it() -> None:
    end = FIRST_PANE + 60_000
    assert judged(placed(FIRST_PANE, end + 10_000)).late.is_empty()
    late = judged(placed(FIRST_PANE), newest_ms=end + 10_000).late
    assert late.select("_index", "_newest_before").rows() == [(0, end + 10_000)]


def test_an_event_too_far_ahead_is_dead_and_does_not_move_time() -> None:
    values = placed(FIRST_PANE + AHEAD_MS + 1, FIRST_PANE + AHEAD_MS)
    result = judged(values, appended_ms=FIRST_PANE)
    assert [(dead.position, dead.reason) for dead in result.dead] == [(0, "ahead-of-time")]
    assert result.newest_ms == FIRST_PANE + AHEAD_MS
    assert judged(values[:1], appended_ms=FIRST_PANE).newest_ms == NO_TIME


def test_a_heartbeat_moves_time_and_opens_no_pane_however_old_it_is() -> None:
    beat = encoder("Heartbeat", "orders").encode(heartbeat(1, FIRST_PANE))
    result = judged([beat])
    assert (result.heartbeats, result.newest_ms, len(result.candidates)) == (1, FIRST_PANE, 0)
    result = judged([beat], newest_ms=APPENDED_MS)
    assert (result.heartbeats, result.newest_ms, len(result.late)) == (1, APPENDED_MS, 0)


def test_a_batch_of_nothing_readable_is_all_dead() -> None:
    result = judged([b"", b"junk"], newest_ms=7)
    assert ([dead.position for dead in result.dead], result.newest_ms, len(result.candidates)) == ([0, 1], 7, 0)


def candidates(*rows: tuple[int, str, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"_index": pl.Int64, "event_id": pl.String, PANE: pl.Int64}, orient="row")


def test_an_id_is_seen_once_a_pane_and_forgotten_with_it() -> None:
    seen = SeenIds()
    first = seen.first_copies(candidates((0, "a", 0), (1, "b", 0), (2, "a", 60_000), (3, "a", 0)))
    assert first["_index"].to_list() == [0, 1, 2]
    assert seen.first_copies(candidates((0, "a", 60_000), (1, "c", 60_000)))["_index"].to_list() == [1]
    seen.forget(60_000)
    seen.forget(120_000)
    assert seen.first_copies(candidates((0, "a", 60_000), (1, "a", 0)))["_index"].to_list() == [0]
    assert seen.first_copies(candidates()).is_empty()


@pytest.mark.parametrize(
    ("positions", "count", "before", "expected"),
    [
        ([], 3, 5, (0, 0)),
        ([0, 1, 2], 3, 5, (8, 8)),
        ([0, 2, 3], 4, 5, (6, 2)),
        ([1, 2, 3, 5], 7, 5, (3, 0)),
    ],
)  # fmt: skip
def test_runs_go_on_over_the_borders_of_batches(
    positions: list[int], count: int, before: int, expected: tuple[int, int]
) -> None:
    assert longest_run(positions, count, before) == expected


@given(dead=st.lists(st.booleans(), max_size=40), border=st.integers(0, 40))
def test_the_longest_run_does_not_depend_on_the_batches(dead: list[bool], border: int) -> None:
    parts = [part for part in (dead[:border], dead[border:]) if part]
    longest = run = 0
    for part in parts:
        here, run = longest_run([i for i, flag in enumerate(part) if flag], len(part), run)
        longest = max(longest, here)
    text = "".join("x" if flag else " " for flag in dead)
    assert longest == max(map(len, text.split()), default=0)
    assert run == len(text) - len(text.rstrip("x"))
