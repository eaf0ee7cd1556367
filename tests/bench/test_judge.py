"""Peers' answers held against the truth."""

import json
from typing import Any

import pytest

from bench.events import BEGIN_MS, load_of
from bench.peers.judge import given_answers, judge, true_answers
from bench.peers.task import GRACE_MS, MINUTE_MS
from penstock.schema_ids import LockedIds

FIRST, SECOND = 0, MINUTE_MS
TRUTH = {(FIRST, "a"): (2, 30), (FIRST, "b"): (1, 5), (SECOND, "a"): (4, 70)}
LATER = 10 * MINUTE_MS


def row(pane: int, key: str, count: int, total: int, **more: Any) -> bytes:
    return json.dumps({"pane": pane, "key": key, "count": count, "sum": total, **more}).encode()


def test_equal_answers_are_all_right() -> None:
    verdict = judge(TRUTH, dict(TRUTH), LATER)
    assert verdict.all_right
    assert (verdict.right, verdict.share_counted, verdict.told()) == (3, 1.0, "all 3 right")


def test_a_group_with_another_number_is_wrong_and_the_events_it_lacks_are_told() -> None:
    verdict = judge(TRUTH, TRUTH | {(SECOND, "a"): (1, 20)}, LATER)
    assert (verdict.right, verdict.wrong, verdict.missing) == (2, 1, 0)
    assert verdict.told() == "1 of 3 wrong; 57% of the events counted"


def test_a_group_that_there_is_not_is_wrong() -> None:
    verdict = judge(TRUTH, TRUTH | {(FIRST, "c"): (1, 1)}, LATER)
    assert (verdict.right, verdict.wrong, verdict.all_right) == (3, 1, False)


def test_a_group_that_is_not_given_is_missing_once_its_window_and_the_grace_are_over() -> None:
    given = {group: totals for group, totals in TRUTH.items() if group != (SECOND, "a")}
    over = SECOND + MINUTE_MS + GRACE_MS
    assert (judge(TRUTH, given, over).missing, judge(TRUTH, given, over).open) == (1, 0)
    early = judge(TRUTH, given, over - 1)
    assert (early.missing, early.open, early.all_right, early.share_counted) == (0, 1, True, 1.0)
    assert early.told() == "all 2 right; 1 windows still open"


def test_with_all_windows_open_there_is_nothing_to_judge() -> None:
    assert judge(TRUTH, {}, FIRST).told() == "nothing to judge: every window is still open"


def test_of_several_answers_for_a_group_the_last_counts() -> None:
    given = given_answers("orders", [row(FIRST, "a", 1, 10), row(FIRST, "b", 1, 5), row(FIRST, "a", 2, 30)])
    assert given == {(FIRST, "a"): (2, 30), (FIRST, "b"): (1, 5)}


def test_readings_have_a_least_and_a_largest() -> None:
    assert given_answers("telemetry", [row(0, "d", 2, 3, min=1, max=2)]) == {(0, "d"): (2, 3, 1, 2)}


@pytest.mark.parametrize("job", ["orders", "telemetry"])
def test_the_truth_of_a_load_counts_every_event(job: str) -> None:
    load = load_of(job, 500, LockedIds())
    truth = true_answers(job, load.truth)
    assert sum(totals[0] for totals in truth.values()) == 500
    assert {pane for pane, _ in truth} == {BEGIN_MS}
