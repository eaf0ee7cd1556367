"""Quantiles and distinct customers by SQL, on both databases, beside a direct computation."""

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
import pytest

from consumers.stores import Store
from consumers.tables import prepare
from penstock.metrics import METRICS, SLOTS, Metric
from processors.fates import PANE
from processors.fold import open_groups
from tests.consumers import builders
from tests.consumers.builders import Event, Instance, read, views

Connect = Callable[[], Store]
MINUTE, HOUR = 60_000, 3_600_000
DAY = 1_700_006_400_000 // (24 * HOUR) * 24 * HOUR
METRIC = {metric.name: metric for metric in METRICS}
SPANS = (("", MINUTE), ("_by_hour", HOUR), ("_by_day", 24 * HOUR))
PARTITIONS = 2


@pytest.fixture
def instance(connect: Connect) -> Instance:
    store = connect()
    prepare(store, views().values(), 1)
    return Instance(store)


def results(metric: Metric, rows: pl.DataFrame, final: bool = True) -> dict[int, list[Event]]:
    """Return what processors make of ``rows`` (``_partition``, ``_pane`` and the source's columns), by partition."""
    found: dict[int, list[Event]] = {}
    (source,) = {measure.source for measure in metric.measures}
    for number in range(PARTITIONS):
        groups = open_groups(metric)
        groups.fold({source: rows.filter(pl.col("_partition") == number).drop("_partition")})
        taken = groups.take_final(1 << 50)
        assert taken is not None
        found[number] = [
            builders.result(metric.result, row.pop(PANE), number, 9, final, **row)
            for row in taken.iter_rows(named=True)
        ]
    return found


def settle(instance: Instance, metric: Metric, rows: pl.DataFrame) -> None:
    for number, events in results(metric, rows).items():
        instance.settle(metric.name, f"{metric.results}-final", events, partition=number)


def panes(chance: random.Random, count: int) -> list[int]:
    """Return times in two hours of a day and in the next day, by the minute."""
    choices = [DAY + 9 * HOUR, DAY + 9 * HOUR + MINUTE, DAY + 10 * HOUR, DAY + 25 * HOUR]
    return chance.choices(choices, k=count)


def by_window(rows: pl.DataFrame, span_ms: int, *keys: str) -> dict[Any, pl.DataFrame]:
    start = pl.col(PANE) - pl.col(PANE) % span_ms
    return rows.with_columns(_start=start).partition_by("_start", *keys, as_dict=True)


def nearest_rank(values: Sequence[int], percent: int) -> int:
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def test_quantiles_by_minute_hour_and_day_are_within_one_percent_of_those_of_the_readings(instance: Instance) -> None:
    chance, count = random.Random(11), 3_000
    sensors = chance.choices(("TEMPERATURE", "CPU"), k=count)
    values = [
        round(1e6 * (chance.gauss(1, 12) if sensor == "TEMPERATURE" else 100 * chance.random() ** 4))
        for sensor in sensors
    ]
    rows = pl.DataFrame(
        {"_partition": chance.choices(range(PARTITIONS), k=count), PANE: panes(chance, count), "sensor": sensors,
         "value_e6": values}
    )  # fmt: skip
    settle(instance, METRIC["reading_quantiles"], rows)
    for ending, span_ms in SPANS:
        columns = "window_start_ms, sensor, readings, p50_e6, p95_e6, p99_e6, p50, final"
        found = read(instance.store, f"reading_quantiles{ending}", columns)
        direct = by_window(rows, span_ms, "sensor")
        assert {row[:2]: row[2] for row in found} == {key: len(part) for key, part in direct.items()}
        for start, sensor, _, *quantiles, p50, final in found:
            own = direct[start, sensor]["value_e6"].to_list()
            for percent, quantile in zip((50, 95, 99), quantiles, strict=True):
                assert math.isclose(quantile, nearest_rank(own, percent), rel_tol=0.0101), (start, sensor, percent)
            assert float(p50) == quantiles[0] / 1e6
            assert bool(final)


def test_distinct_customers_by_minute_hour_and_day_are_within_three_percent_of_a_count(instance: Instance) -> None:
    chance, count = random.Random(12), 40_000
    customers = [
        None if chance.random() < 0.1 else f"c-{int(chance.paretovariate(0.3)) % 30_000:06}" for _ in range(count)
    ]
    rows = pl.DataFrame(
        {"_partition": chance.choices(range(PARTITIONS), k=count), PANE: panes(chance, count), "customer_id": customers}
    )
    settle(instance, METRIC["distinct_customers"], rows)
    for ending, span_ms in SPANS:
        found = read(instance.store, f"distinct_customers{ending}", "window_start_ms, customers, final")
        direct = {key: part["customer_id"].drop_nulls().n_unique() for (key,), part in by_window(rows, span_ms).items()}
        assert {row[0] for row in found} == set(direct)
        for start, estimate, final in found:
            assert math.isclose(estimate, direct[start], rel_tol=0.03), (ending, start, estimate, direct[start])
            assert bool(final)


def test_few_customers_are_counted_exactly_and_more_partitions_do_not_count_twice(instance: Instance) -> None:
    names = [f"customer {number}" for number in range(20)]
    rows = pl.DataFrame(
        {"_partition": [*[0] * 20, *[1] * 20], PANE: [DAY] * 40, "customer_id": [*names, *names]}
    )  # fmt: skip
    settle(instance, METRIC["distinct_customers"], rows)
    assert read(instance.store, "distinct_customers", "window_start_ms, customers") == [(DAY, 20)]


def test_an_early_row_loses_to_a_newer_one_and_a_window_is_final_when_all_its_parts_are(instance: Instance) -> None:
    def row(next_offset: int, final: bool, readings: int, bucket: int = 1_000_000) -> Event:
        fields = {"sensor": "CPU", "bucket_e6": bucket, "readings": readings}
        return builders.result("ReadingBucket", DAY, 0, next_offset, final, **fields)

    early = [row(5, False, 3), row(4, False, 2), row(3, False, 1, -7)]
    instance.settle("reading_quantiles", "telemetry-metrics", early)
    columns = "readings, p50_e6, p95_e6, final"
    assert [(*found[:3], bool(found[3])) for found in read(instance.store, "reading_quantiles", columns)] == [
        (4, 1_000_000, 1_000_000, False)
    ]
    instance.settle("reading_quantiles", "telemetry-metrics-final", [row(9, True, 3), row(9, True, 1, -7)])
    assert bool(read(instance.store, "reading_quantiles_by_day", "final")[0][0])


def test_an_empty_view_and_full_registers_are_no_error(instance: Instance) -> None:
    assert read(instance.store, "distinct_customers") == []
    full = dict.fromkeys(SLOTS, 40)
    events = [builders.result("CustomerRegisters", DAY, 0, 1, True, block=block, **full) for block in range(512)]
    instance.settle("distinct_customers", "order-metrics-final", events)
    ((customers,),) = read(instance.store, "distinct_customers", "customers")
    assert customers == pytest.approx(0.7213475204444817 * 16_384 * 2.0**40)
