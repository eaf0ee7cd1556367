"""The ledger's rules: what may not differ, and what early rows may leave open."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from penstock.errors import UsageError
from penstock.frontier import Fates, Frontier
from penstock.pipeline import ALLOWED_DISORDER_MS, PANE_MS
from producers.truth import Tally, TopicTruth, document
from referee.ledger import Kept, Ledger, Page, first_open_pane_ms
from referee.ledger_truth import TopicTruth as Told
from referee.ledger_truth import Truth, load_truth

FATES = Fates(applied=80, duplicate=5, late=3, dead=2, control=10)
FRONTIER = Frontier("id", 0, 100, 1_000_000, "f", FATES)
KEPT = Kept(late=3, dead=2, final=50, early=30)
PAGE = Page("orders", 0, FRONTIER, 60, 0, 130, KEPT)


def test_books_that_are_right_have_no_problem() -> None:
    assert PAGE.problems() == []
    assert PAGE.in_flight == 30
    assert PAGE.early_gap == 0
    assert Ledger([PAGE]).balanced


@pytest.mark.parametrize(
    ("page", "word"),
    [
        (replace(PAGE, frontier=replace(FRONTIER, fates=replace(FATES, control=9))), "out of balance"),
        (replace(PAGE, restart=101, kept=replace(KEPT, final=80, early=0)), "not within"),
        (replace(PAGE, log_start=61), "input was lost"),
        (replace(PAGE, kept=replace(KEPT, late=2)), "2 late events by key, the frontier counts 3"),
        (replace(PAGE, kept=replace(KEPT, dead=3)), "3 dead letters by key, the frontier counts 2"),
        (replace(PAGE, kept=replace(KEPT, final=81, early=0)), "final panes"),
        (replace(PAGE, kept=replace(KEPT, final=39)), "final panes"),
        (replace(PAGE, kept=replace(KEPT, early=31)), "open panes"),
        (replace(PAGE, kept=replace(KEPT, ahead=2, ahead_to=101)), "open panes"),
    ],
)
def test_each_contradiction_is_said(page: Page, word: str) -> None:
    (sentence,) = page.problems()
    assert sentence.startswith("orders/0: ")
    assert word in sentence
    assert not Ledger([page]).balanced


@pytest.mark.parametrize(
    ("kept", "gap"),
    [
        (replace(KEPT, early=12), 18),  # an early row is on its way
        (replace(KEPT, early=0, ahead=40, ahead_to=115), -10),  # rows that were sent behind the commit
    ],
)
def test_early_rows_of_open_panes_may_be_behind_and_ahead(kept: Kept, gap: int) -> None:
    page = replace(PAGE, kept=kept)
    assert page.early_gap == gap
    assert page.problems() == []


def test_without_open_panes_the_views_must_show_all_that_is_applied() -> None:
    closed = replace(PAGE, restart=100, kept=replace(KEPT, final=80, early=0))
    assert closed.problems() == []
    assert replace(closed, kept=replace(KEPT, final=79, early=0)).problems()


def test_a_pane_is_open_until_the_watermark_reaches_its_end() -> None:
    pane = 600_000
    ends = pane + PANE_MS + ALLOWED_DISORDER_MS
    assert first_open_pane_ms(ends) == pane + 1
    assert first_open_pane_ms(ends - 1) == pane


def test_views_that_are_behind_leave_the_books_unproved() -> None:
    ledger = Ledger([replace(PAGE, kept=None)], views_behind="the database is away")
    assert ledger.problems() == []
    assert not ledger.balanced
    assert ledger.as_json()["partitions"][0]["views"] is None


def done(told: Told) -> Ledger:
    """Return a ledger of one page with nothing in flight, and this truth."""
    return Ledger([replace(PAGE, log_end=100)], Truth({"orders": told}))


@pytest.mark.parametrize(
    ("told", "word"),
    [
        (Told(100, 100, FATES), ""),
        (Told(101, 99, FATES), ""),  # acknowledgements that never came: at least what was, at most what was sent
        (Told(101, 101, FATES), "1 are lost"),
        (Told(99, 99, FATES), "a producer's truth missing"),
        (Told(100, 100, replace(FATES, dead=3, control=9)), "2 dead, the producers meant 3"),
    ],
)
def test_the_producers_truth_is_held_against_the_log_and_the_books(told: Told, word: str) -> None:
    problems = done(told).problems()
    assert bool(problems) == bool(word)
    assert word in "\n".join(problems)


def test_fates_are_not_compared_while_something_is_in_flight() -> None:
    told = Told(130, 130, replace(FATES, applied=110))
    assert Ledger([PAGE], Truth({"orders": told})).problems() == []


def test_truths_of_several_runs_are_added(tmp_path: Path) -> None:
    files = []
    for number, count in enumerate((3, 4)):
        truth = TopicTruth(4, {("applied", "OrderPlaced"): Tally(count, count), ("dead", "junk"): Tally(2, 1)})
        files.append(tmp_path / f"{number}.json")
        files[-1].write_text(json.dumps(document("test", 1, {"orders": truth})))
    found = load_truth(files)
    assert found.of("orders") == Told(11, 9, Fates(applied=7, dead=2))
    assert found.of("telemetry") == Told()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"topics": {"orders": {}}}', '{"topics": {"orders": 3}}', "\x00"])
def test_a_file_that_is_no_truth_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "truth.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"truth\.json"):
        load_truth([file])
    with pytest.raises(UsageError, match=r"absent\.json"):
        load_truth([tmp_path / "absent.json"])
