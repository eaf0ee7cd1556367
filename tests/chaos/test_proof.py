"""The proof at a scenario's end finds what is lost and what is doubled, and names it."""

import zlib
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from chaos.loader import BEHIND_MS, fast_clock
from chaos.proof import RECORDS, Findings, Truth, compare, read_acks
from chaos.watch import reached
from penstock.frontier import Fates, Frontier
from producers.run import wall_clock

ORDERS = "x-orders"
Record = tuple[str, int, int, int]


def records(*offsets: int) -> list[Record]:
    return [(ORDERS, 0, offset, zlib.crc32(b"%d" % offset)) for offset in offsets]


def frame(rows: list[Record]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=RECORDS, orient="row")


def proof(
    *, log: list[Record], acknowledged: list[Record], books: Fates, shown: int, told: int, exact: bool = True
) -> Findings:
    truth = Truth({}, exact)
    truth.add(ORDERS, {"applied": told})
    frontier = Frontier("id", 0, books.total, 0, "f", books)
    views: Mapping[str, Mapping[str, int]] = {ORDERS: {"applied": shown, "late": 0, "dead": 0}}
    return compare(truth, frame(acknowledged), frame(log), {(ORDERS, 0): frontier}, views)


def test_equal_numbers_are_the_proof() -> None:
    found = proof(log=records(0, 1), acknowledged=records(0, 1), books=Fates(applied=2), shown=2, told=2)
    assert (found.lost, found.doubled) == (0, 0)


def test_an_acknowledged_record_that_is_not_in_the_log_is_lost() -> None:
    found = proof(log=records(0), acknowledged=records(0, 1), books=Fates(applied=2), shown=2, told=2)
    assert (found.missing, found.lost) == (1, 1)


def test_an_acknowledged_record_that_has_other_bytes_in_the_log_is_lost() -> None:
    other = [(ORDERS, 0, 0, 7)]
    assert proof(log=other, acknowledged=records(0), books=Fates(applied=1), shown=1, told=1).missing == 1


def test_an_acknowledged_record_past_the_frontier_is_lost() -> None:
    found = proof(log=records(0, 1), acknowledged=records(0, 1), books=Fates(applied=1), shown=1, told=1)
    assert found.unsettled == 1


def test_an_event_that_the_books_call_a_duplicate_against_the_truth_is_lost_and_doubled_by_fate() -> None:
    books = Fates(applied=1, duplicate=1)
    found = proof(log=records(0, 1), acknowledged=records(0, 1), books=books, shown=1, told=2)
    assert found.too_few == {f"books {ORDERS} applied": 1}
    assert found.too_many == {f"books {ORDERS} duplicate": 1}


def test_a_view_that_counts_an_event_twice_is_found() -> None:
    found = proof(log=records(0, 1), acknowledged=records(0, 1), books=Fates(applied=2), shown=3, told=2)
    assert (found.lost, found.doubled) == (0, 1)


def test_a_producer_that_was_killed_may_have_sent_more_than_it_knows_but_not_less() -> None:
    killed = {"log": records(0, 1), "acknowledged": records(0), "books": Fates(applied=2), "shown": 2, "told": 1}
    assert proof(**killed, exact=False).doubled == 0  # type: ignore[arg-type]
    assert proof(**killed, exact=True).doubled == 2  # type: ignore[arg-type]  # by the log and by the books


def test_acknowledgements_whose_last_line_a_kill_cut_off_are_true_as_far_as_they_go(tmp_path: Path) -> None:
    acks = tmp_path / "acks"
    acks.write_text("x-orders,0,5,123,applied\nx-orders,1,6,4")
    assert read_acks([acks]).rows() == [("x-orders", 0, 5, 123, "applied")]
    acks.write_text("x-ord")
    assert read_acks([acks]).height == 0


@pytest.mark.parametrize("speed", [1.0, 6.0])
def test_the_clock_of_the_load_begins_two_hours_back_and_never_passes_the_wall_clock(speed: float) -> None:
    began = wall_clock()
    assert fast_clock(began, speed)() - (began - BEHIND_MS) < 60_000 * speed
    assert fast_clock(began - 10 * BEHIND_MS, speed)() <= wall_clock()


def test_a_position_is_reached_when_each_partition_is_there() -> None:
    assert reached({("t", 0): 5, ("t", 1): 0}, {("t", 0): 5})
    assert not reached({("t", 0): 5}, {("t", 0): 4})
