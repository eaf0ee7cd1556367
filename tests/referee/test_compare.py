"""The difference of two frames."""

import json
from io import StringIO

import polars as pl
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from penstock.frontier import Fates, Frontier
from penstock.pipeline import fingerprint
from referee.books import Book, audit, unproved_share
from referee.compare import ABSENT, KEPT, PRESENT, ROW, Difference, Differences, Shape, compare
from referee.report import SHOWN, Verdict, print_verdict, to_json
from tests.processors.logs import FIRST_PANE, entry, order
from tests.referee.worlds import patient, read

SHAPE = Shape("view", ("k",), ("a", "b"))
TYPES = {"k": pl.String, "a": pl.Int64, "b": pl.String}


def frame(*rows: tuple[str | None, int | None, str | None]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=TYPES, orient="row")


def differences(seen: pl.DataFrame, expected: pl.DataFrame) -> list[Difference]:
    found = Differences()
    compare(SHAPE, seen, expected, found)
    assert found.total == len(found.rows)
    return found.rows


def test_equal_frames_in_another_order_do_not_differ() -> None:
    rows = [("x", 1, None), ("y", None, "b")]
    assert differences(frame(*rows), frame(*reversed(rows))) == []


def test_a_cell_is_named_with_both_values() -> None:
    assert differences(frame(("x", 1, "b")), frame(("x", 2, "b"))) == [Difference("view", "k=x", "a", "1", "2")]


def test_null_differs_from_a_value_and_not_from_null() -> None:
    assert differences(frame(("x", None, None)), frame(("x", 0, None))) == [Difference("view", "k=x", "a", "null", "0")]


def test_a_missing_and_an_extra_row_are_named() -> None:
    assert differences(frame(("x", 1, "b")), frame(("y", 1, "b"))) == [
        Difference("view", "k=y", ROW, ABSENT, PRESENT),
        Difference("view", "k=x", ROW, PRESENT, ABSENT),
    ]


def test_a_row_that_may_be_there_need_not_be() -> None:
    expected = frame(("x", 1, "b"), ("y", 1, "b")).with_columns(required=pl.Series([False, True]))
    assert [d.key for d in differences(frame(), expected)] == ["k=y"]


def test_a_row_that_is_there_twice_is_named() -> None:
    found = differences(frame(("x", 1, "b"), ("x", 1, "b")), frame(("x", 1, "b")))
    assert [(d.key, d.in_view) for d in found] == [("k=x", "more than once")]


def test_all_differences_are_counted_and_the_first_are_kept() -> None:
    found = Differences()
    compare(SHAPE, frame(), frame(*((f"{n:05}", n, "b") for n in range(KEPT + 5))), found)
    assert (found.total, len(found.rows)) == (KEPT + 5, KEPT)


rows_by_key = st.dictionaries(
    st.sampled_from("vwxyz"), st.tuples(st.sampled_from((None, 1, 2)), st.sampled_from((None, "b")))
)


@patient
@given(rows_by_key, rows_by_key)
def test_it_finds_what_a_loop_over_both_finds(
    seen: dict[str, tuple[int | None, str | None]], expected: dict[str, tuple[int | None, str | None]]
) -> None:
    frames = (frame(*((k, *v) for k, v in side.items())) for side in (seen, expected))
    found = {(d.key, d.column) for d in differences(*frames)}
    wanted = {(f"k={k}", ROW) for k in seen.keys() ^ expected.keys()}
    for k in seen.keys() & expected.keys():
        wanted |= {(f"k={k}", name) for name, x, y in zip("ab", seen[k], expected[k], strict=True) if x != y}
    assert found == wanted


def book(fates: Fates, newest_ms: int, recounted: Fates | None, log_start: int = 0) -> Book:
    return Book("orders", 0, Frontier("id", 0, 1, newest_ms, fingerprint(), fates), log_start, 1, recounted)


def test_the_books_name_each_fate_that_differs_the_imbalance_and_the_newest_time() -> None:
    _, settled = read("orders", [entry("orders", "OrderPlaced", order("OrderPlaced", 1, FIRST_PANE, 1), 0)])
    right, wrong = Differences(), Differences()
    audit(book(Fates(applied=1), FIRST_PANE, settled.counts(1)), settled, right)
    audit(book(Fates(late=1, dead=1), FIRST_PANE + 1, settled.counts(1)), settled, wrong)
    assert right.total == 0
    assert [(d.column, d.in_view, d.by_log) for d in wrong.rows] == [
        ("imbalance", "-1", "0"), ("applied", "0", "1"), ("late", "1", "0"), ("dead", "1", "0"),
        ("newest_ms", str(FIRST_PANE + 1), str(FIRST_PANE)),
    ]  # fmt: skip


def verdict(found: Differences, books: list[Book], *, accept: bool = False) -> Verdict:
    return Verdict(found, books, {"orders": 3}, 10, 0.5, unproved_share(books), accept)


def printed(what: Verdict) -> str:
    out = StringIO()
    print_verdict(what, Console(file=out, width=80))
    return out.getvalue()


def test_the_report_shows_the_first_differences_and_counts_all_by_view() -> None:
    found = Differences()
    compare(SHAPE, frame(), frame(*((f"[{n:05}]", n, "b") for n in range(SHOWN + 5))), found)
    text = printed(verdict(found, [book(Fates(applied=1), 0, Fates(applied=1))]))
    assert "k=[00000]" in text
    assert f"k=[{SHOWN:05}]" not in text
    assert f"view: {SHOWN + 5} differences" in text
    assert text.rstrip().endswith("NOT PROVED")


def test_a_log_that_is_gone_in_part_is_not_proved_unless_that_is_accepted() -> None:
    gone = [book(Fates(applied=1), 0, None, log_start=1)]
    assert unproved_share(gone) == 1.0
    assert "NOT PROVED" in printed(verdict(Differences(), gone))
    accepted = verdict(Differences(), gone, accept=True)
    assert accepted.proved
    assert "100.00%" in printed(accepted)


def test_the_json_has_the_verdict_the_differences_and_the_books() -> None:
    document = json.loads(to_json(verdict(Differences(), [book(Fates(applied=1), 0, Fates(applied=1))])))
    assert document["proved"] is True
    assert document["books"][0]["fates"]["applied"] == 1
    assert {"differences", "events", "seconds", "unproved_share"} <= document.keys()
