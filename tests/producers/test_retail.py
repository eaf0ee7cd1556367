import csv
from collections import defaultdict
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest

from penstock.errors import UsageError
from producers.csv_rows import Gathered, open_all
from producers.retail import gather

SAMPLES = sorted((Path(__file__).parents[2] / "samples" / "online-retail").glob("*.csv"))
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def of(*rows: str, name: str = "day.csv") -> Gathered:
    return gather([(name, [f"{line}\r\n" for line in (HEADER, *rows)])])


def test_an_order_is_all_rows_of_an_invoice_with_its_exact_sum() -> None:
    gathered = of(
        "536365,85123A,HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom",
        "536365,POST,POSTAGE,1,2010-12-01 08:26:00,0.29,17850.0,United Kingdom",
        '536365,71053,"LANTERN, WHITE",3,2010-12-01 08:27:00,0.1,17850.0,United Kingdom',
    )
    (event,) = gathered.events
    assert event.record == "OrderPlaced"
    assert event.key == "536365"
    event_id = event.fields.pop("event_id")
    assert event.fields == {
        "occurred_at": 1_291_191_960_000,  # 2010-12-01 08:26:00 UTC
        "source": "penstock-replay",
        "order_id": "536365",
        "customer_id": "17850",
        "country": "United Kingdom",
        "currency": "GBP",
        "amount_e4": 158_900,
        "items": [
            {"sku": "85123A", "quantity": 6, "unit_price_e4": 25_500},
            {"sku": "POST", "quantity": 1, "unit_price_e4": 2_900},
            {"sku": "71053", "quantity": 3, "unit_price_e4": 1_000},
        ],
    }
    assert UUID(event_id).version == 5
    assert (gathered.skipped, gathered.malformed) == ({}, [])


def test_an_empty_customer_is_a_guest() -> None:
    (event,) = of("1,A,a,1,2010-12-01 08:26:00,1.0,,Norway").events
    assert event.fields["customer_id"] is None
    assert event.fields["country"] == "Norway"


def test_a_c_invoice_is_a_cancellation_with_its_own_id_and_positive_amounts() -> None:
    (event,) = of(
        "C536379,D,Discount,-1,2010-12-01 09:41:00,27.5,14527.0,United Kingdom",
        "C536379,22,thing,-3,2010-12-01 09:41:00,0.05,14527.0,United Kingdom",
    ).events
    assert event.record == "OrderCancelled"
    assert event.key == event.fields["order_id"] == "C536379"
    assert event.fields["amount_e4"] == 276_500
    assert [item["quantity"] for item in event.fields["items"]] == [1, 3]
    assert event.fields["reason"] == "UNKNOWN"
    assert "customer_id" not in event.fields


def test_rows_that_the_rules_leave_out_are_counted_by_reason() -> None:
    gathered = of(
        "1,A,a,0,2010-12-01 08:00:00,1.0,,X",
        "1,A,a,-2,2010-12-01 08:00:00,0.0,,X",
        "1,A,a,2,2010-12-01 08:00:00,0.0,,X",
        "A1,B,bad debt,1,2010-12-01 08:00:00,-11062.06,,X",
        "C2,A,a,1,2010-12-01 08:00:00,1.0,,X",
        "C2,A,a,-1,2010-12-01 08:00:00,0,,X",
        "1,A,a,2,2010-12-01 09:00:00,0.5,,X",
    )
    assert gathered.skipped == {
        "quantity is not above 0": 2,
        "price is not above 0": 2,
        "cancellation of a quantity that is not below 0": 1,
        "cancellation at a price that is not above 0": 1,
    }
    (event,) = gathered.events
    assert event.fields["amount_e4"] == 10_000
    assert event.occurred_at == 1_291_194_000_000  # the first row that counts
    assert gathered.malformed == []


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("1,A,a,2,2010-12-01 08:00:00,1.0,,X,Y", "9 columns in place of 8"),
        ("1,A,a", "3 columns in place of 8"),
        ("1,A,a,two,2010-12-01 08:00:00,1.0,,X", "Quantity 'two'"),
        ("1,A,a,1.5,2010-12-01 08:00:00,1.0,,X", "Quantity '1.5'"),
        ("1,A,a,1000001,2010-12-01 08:00:00,1.0,,X", "Quantity '1000001'"),
        ("1,A,a,1,2010-13-01 08:00:00,1.0,,X", "InvoiceDate '2010-13-01 08:00:00'"),
        ("1,A,a,1,1969-12-31 23:59:59,1.0,,X", "before 1970"),
        ("1,A,a,1,2010-12-01 08:00:00,cheap,,X", "UnitPrice 'cheap'"),
        ("1,A,a,1,2010-12-01 08:00:00,NaN,,X", "UnitPrice 'NaN'"),
        ("1,A,a,1,2010-12-01 08:00:00,0.00001,,X", "at most four decimals"),
        ("1,A,a,1,2010-12-01 08:00:00,1e30,,X", "UnitPrice '1e30'"),
        ("1,A,a,1,2010-12-01 08:00:00,9999999999,,X", "more than the contract allows"),
        (",A,a,1,2010-12-01 08:00:00,1.0,,X", "InvoiceNo is empty"),
        ("1,,a,1,2010-12-01 08:00:00,1.0,,X", "StockCode is empty"),
        ("1,A,a,1,2010-12-01 08:00:00,1.0,, ", "Country is empty"),
        ("1,A\ufffd,a,1,2010-12-01 08:00:00,1.0,,X", "StockCode"),
        ("1,A\0,a,1,2010-12-01 08:00:00,1.0,,X", "StockCode"),
    ],
)
def test_a_row_that_cannot_be_read_is_told_by_file_and_line_and_the_others_go_on(row: str, why: str) -> None:
    gathered = of("1,A,a,1,2010-12-01 08:00:00,2.0,,X", row, "2,A,a,1,2010-12-01 08:00:00,1.0,,X")
    (told,) = gathered.malformed
    assert told.startswith("day.csv:3: ")
    assert why in told
    assert [event.fields["amount_e4"] for event in gathered.events] == [20_000, 10_000]


def test_a_quote_that_never_ends_is_told_and_ends_nothing_before_it() -> None:
    gathered = of("1,A,a,1,2010-12-01 08:00:00,2.0,,X", '2,A,"a,1,2010-12-01 08:00:00,1.0,,X')
    assert len(gathered.events) == 1
    assert len(gathered.malformed) == 1


def test_an_invoice_that_is_worth_too_much_loses_the_row_that_does_it() -> None:
    row = "1,A,a,10000,2010-12-01 08:00:00,9999999.9999,,X"
    gathered = of(row, row, "1,B,b,1,2010-12-01 08:00:00,0.5,,X")
    assert gathered.malformed == ["day.csv:3: invoice 1 would be worth more than the contract allows"]
    assert gathered.events[0].fields["amount_e4"] == 10_000 * 99_999_999_999 + 5_000


def test_events_go_in_event_time_order_over_all_files() -> None:
    late = ("b.csv", [f"{HEADER}\n", "3,A,a,1,2010-12-02 08:00:00,1,,X\n", "1,A,a,1,2010-12-01 08:00:00,1,,X\n"])
    early = ("a.csv", [f"{HEADER}\n", "2,A,a,1,2010-12-01 20:00:00,1,,X\n"])
    assert [event.key for event in gather([late, early]).events] == ["1", "2", "3"]


def test_an_event_id_depends_on_the_file_name_and_the_invoice_alone() -> None:
    row, other = "1,A,a,1,2010-12-01 08:00:00,1,,X", "2,A,a,1,2010-12-01 08:00:00,1,,X"
    first = of(row).events[0].fields["event_id"]
    assert of(other, row).events[1].fields["event_id"] == first
    assert of(row, name="other.csv").events[0].fields["event_id"] != first
    assert of(other).events[0].fields["event_id"] != first


def test_another_kind_of_file_is_refused_and_so_are_a_missing_one_and_a_name_given_twice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column InvoiceNo"):
        gather([("x.csv", ["timestamp,value\n", "1,2\n"])])
    with pytest.raises(UsageError, match="no column InvoiceNo"):
        gather([("empty.csv", [])])
    with pytest.raises(UsageError, match=r"nosuch\.csv: can't be read"):
        open_all([tmp_path / "nosuch.csv"])
    with pytest.raises(UsageError, match="given twice"):
        open_all([SAMPLES[0], SAMPLES[0]])


def test_the_samples_give_what_a_direct_computation_gives() -> None:
    orders: dict[str, Decimal] = defaultdict(Decimal)
    cancelled: dict[str, Decimal] = defaultdict(Decimal)
    left_out = rows = 0
    for path in SAMPLES:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                rows += 1
                value = int(row["Quantity"]) * Decimal(row["UnitPrice"])
                if row["InvoiceNo"][0] == "C":
                    cancelled[row["InvoiceNo"]] -= value
                elif value > 0 and int(row["Quantity"]) > 0:
                    orders[row["InvoiceNo"]] += value
                else:
                    left_out += 1
    gathered = gather(open_all(SAMPLES))
    got: dict[str, dict[str, Decimal]] = {"OrderPlaced": {}, "OrderCancelled": {}}
    for event in gathered.events:
        got[event.record][event.key] = Decimal(event.fields["amount_e4"]) / 10_000
    assert got == {"OrderPlaced": dict(orders), "OrderCancelled": dict(cancelled)}
    assert sum(gathered.skipped.values()) == left_out > 0
    assert sum(len(event.fields["items"]) for event in gathered.events) == rows - left_out
    assert all(a.occurred_at <= b.occurred_at for a, b in pairwise(gathered.events))
    assert len({event.fields["event_id"] for event in gathered.events}) == len(gathered.events)
    assert gathered.malformed == []
    assert any(event.fields.get("customer_id", "") is None for event in gathered.events)
    assert any(item["sku"] == "POST" for event in gathered.events for item in event.fields["items"])
