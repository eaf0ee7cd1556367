"""Real data through real parts, held to a direct computation from the CSV files that shares no code with Penstock."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from testbed.pipeline import REPOSITORY, Parts, Pipeline, fates
from tests.end_to_end.conftest import DatabaseKind

SAMPLES = REPOSITORY / "samples"
THERMOSTAT = SAMPLES / "numenta" / "ambient_temperature_system_failure.csv"
DAY_MS, HOUR_MS = 86_400_000, 3_600_000

pytestmark = [pytest.mark.real, pytest.mark.slow]


def full_days() -> list[Path]:
    """The four full retail days, where this machine has them; else the samples."""
    folder = Path(os.environ.get("PENSTOCK_RETAIL_DATA") or REPOSITORY.parent / "shared" / "data" / "online-retail")
    return sorted(folder.glob("*.csv")) or sampled_days()


def sampled_days() -> list[Path]:
    return sorted((SAMPLES / "online-retail").glob("*.csv"))


class Order(NamedTuple):
    """An invoice, as the table for people should show it."""

    country: str
    status: str
    amount: Decimal
    customer_id: str | None
    at_ms: int


class Retail(NamedTuple):
    """What the CSV files say."""

    orders: dict[str, Order]
    by_day: dict[tuple[int, str], tuple[int, Decimal, int, int, Decimal]]
    """Orders, revenue, units, cancellations, their value."""
    products: dict[tuple[int, str], tuple[int, Decimal]]
    left_out: int


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000


def retail_of(files: Sequence[Path]) -> Retail:
    """Compute orders, revenue and units with nothing but csv and Decimal."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    left_out = 0
    for file in files:
        with file.open(encoding="utf-8-sig", newline="") as source:
            for row in csv.DictReader(source):
                cancels = row["InvoiceNo"].startswith("C")
                quantity = int(row["Quantity"]) * (-1 if cancels else 1)
                if quantity > 0 and Decimal(row["UnitPrice"]) > 0:
                    rows[row["InvoiceNo"]].append(row)
                else:
                    left_out += 1
    orders: dict[str, Order] = {}
    days: dict[tuple[int, str], list[Any]] = defaultdict(lambda: [0, Decimal(0), 0, 0, Decimal(0)])
    products: dict[tuple[int, str], list[Any]] = defaultdict(lambda: [0, Decimal(0)])
    for number, lines in rows.items():
        at, country = ms(lines[0]["InvoiceDate"]), lines[0]["Country"]
        day = at - at % DAY_MS
        amount = sum((abs(int(line["Quantity"])) * Decimal(line["UnitPrice"]) for line in lines), Decimal(0))
        sums = days[day, country]
        if number.startswith("C"):
            orders[number] = Order(country, "cancelled", amount, None, at)
            sums[3] += 1
            sums[4] += amount
            continue
        customer = lines[0]["CustomerID"].removesuffix(".0") or None
        orders[number] = Order(country, "placed", amount, customer, at)
        sums[0] += 1
        sums[1] += amount
        for line in lines:
            quantity = int(line["Quantity"])
            sums[2] += quantity
            products[day, line["StockCode"]][0] += quantity
            products[day, line["StockCode"]][1] += quantity * Decimal(line["UnitPrice"])
    return Retail(
        orders,
        {key: tuple(sums) for key, sums in days.items()},
        {key: tuple(sums) for key, sums in products.items()},
        left_out,
    )


def readings_of(file: Path, span_ms: int) -> dict[int, tuple[int, Decimal, Decimal, Decimal, Decimal]]:
    """Compute count, min, max, sum and last by span of time; values to six decimals, as the contract keeps them."""
    spans: dict[int, list[tuple[int, Decimal]]] = defaultdict(list)
    with file.open(encoding="utf-8", newline="") as source:
        for row in csv.DictReader(source):
            at, value = ms(row["timestamp"]), micro(row["value"])
            spans[at - at % span_ms].append((at, value))
    return {
        start: (
            len(found),
            min(value for _, value in found),
            max(value for _, value in found),
            sum((value for _, value in found), Decimal(0)),
            max(found)[1],
        )
        for start, found in spans.items()
    }


def micro(value: object) -> Decimal:
    return Decimal(str(value)).quantize(Decimal("0.000001"), ROUND_HALF_EVEN)


def money(value: object) -> Decimal:
    """An amount from a table for people, where SQLite has a float."""
    return Decimal(str(value)).quantize(Decimal("0.0001"))


def shown_orders(pipeline: Pipeline) -> dict[str, Order]:
    rows = pipeline.rows(
        "SELECT order_id, country, status, amount, customer_id, coalesce(placed_at_ms, cancelled_at_ms) FROM orders"
    )
    return {row[0]: Order(row[1], row[2], money(row[3]), row[4], row[5]) for row in rows}


def shown_days(pipeline: Pipeline) -> dict[tuple[int, str], tuple[Any, ...]]:
    rows = pipeline.rows(
        "SELECT window_start_ms, country, orders, revenue, units, cancellations, cancelled, final "
        "FROM order_metrics_by_day"
    )
    assert all(row[7] for row in rows)
    return {(row[0], row[1]): (row[2], money(row[3]), row[4], row[5], money(row[6])) for row in rows}


def shown_products(pipeline: Pipeline) -> dict[tuple[int, str], tuple[Any, ...]]:
    rows = pipeline.rows("SELECT window_start_ms, sku, units, revenue FROM product_sales_by_day")
    return {(row[0], row[1]): (row[2], money(row[3])) for row in rows}


def shown_readings(pipeline: Pipeline, span: str) -> dict[int, tuple[Any, ...]]:
    rows = pipeline.rows(
        f"SELECT window_start_ms, readings, min, max, sum_e6, last, mean FROM telemetry_metrics_by_{span} "
        f"WHERE device_id = '{THERMOSTAT.stem}' AND sensor = 'TEMPERATURE'"
    )
    for _, readings, _, _, sum_e6, _, mean in rows:
        assert abs(Decimal(sum_e6) / readings - Decimal(str(mean)) * 1_000_000) < 1  # rounded to six decimals
    return {row[0]: (row[1], micro(row[2]), micro(row[3]), Decimal(row[4]) / 1_000_000, micro(row[5])) for row in rows}


def everything(pipeline: Pipeline) -> list[object]:
    """All numbers of the views."""
    return [
        shown_orders(pipeline), shown_days(pipeline), shown_products(pipeline),
        shown_readings(pipeline, "hour"), shown_readings(pipeline, "day"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("database", "days"),
    [
        pytest.param("sqlite", sampled_days(), id="samples-sqlite"),
        pytest.param("postgres", sampled_days(), id="samples-postgres"),
        pytest.param("postgres", full_days(), id="full-days-postgres"),
    ],
)
def test_numbers_of_real_data_equal_a_direct_computation_to_the_penny_and_a_second_replay_changes_none(
    parts: Parts,
    tmp_path: Path,
    new_database: Callable[[DatabaseKind, str], str],
    database: DatabaseKind,
    days: list[Path],
    request: pytest.FixtureRequest,
) -> None:
    expected = retail_of(days)
    url = new_database(database, request.node.callspec.id)
    with Pipeline(parts, tmp_path, url).create_topics() as pipeline:
        pipeline.start_processors(2)
        pipeline.start_views()
        retail = pipeline.send("replay", "online-retail", *days)
        pipeline.send("replay", "readings", "--sensor", "temperature", "--unit", "fahrenheit", THERMOSTAT)
        verdict = pipeline.prove()

        assert sum(retail["skipped_rows"].values()) == expected.left_out
        assert fates(verdict)["applied"] == len(expected.orders) + 400
        assert shown_orders(pipeline) == expected.orders
        assert shown_days(pipeline) == expected.by_day
        assert shown_products(pipeline) == expected.products
        assert shown_readings(pipeline, "hour") == readings_of(THERMOSTAT, HOUR_MS)
        assert shown_readings(pipeline, "day") == readings_of(THERMOSTAT, DAY_MS)

        before = everything(pipeline)
        pipeline.send("replay", "online-retail", *days)
        pipeline.send("replay", "readings", "--sensor", "temperature", "--unit", "fahrenheit", THERMOSTAT)
        again = pipeline.prove()

        assert everything(pipeline) == before
        assert fates(again)["applied"] == fates(verdict)["applied"]
        assert fates(again)["late"] + fates(again)["duplicate"] == fates(verdict)["applied"]
        assert pipeline.row("SELECT count(*) FROM late_events") == (fates(again)["late"],)
        pipeline.stop()
