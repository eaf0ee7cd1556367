"""What people see: the same query gives the same answer on both databases."""

from collections.abc import Callable
from typing import Any

import pytest

from consumers.stores import Store
from consumers.tables import prepare
from penstock.errors import ProtectiveStop
from tests.consumers import builders
from tests.consumers.builders import NOON, Instance, read, views

Connect = Callable[[], Store]

HOUR = NOON - NOON % 3_600_000
DAY = NOON - NOON % 86_400_000


@pytest.fixture
def instance(connect: Connect) -> Instance:
    store = connect()
    prepare(store, views().values(), 1)
    return Instance(store)


def plain(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Numbers as floats or ints, whatever the database calls them."""
    return [tuple(v if isinstance(v, str | int | None) else float(v) for v in row) for row in rows]


def test_an_order_shows_its_money_as_a_decimal_and_its_times_as_times(instance: Instance) -> None:
    events = [builders.placed("o1", NOON + 123, amount_e4=1_234_567), builders.paid("o1", NOON + 60_001)]
    instance.settle("orders", "orders", events)
    rows = read(instance.store, "orders", "amount, amount_e4, placed_at, paid_at, shipped_at")
    amount, units, placed_at, paid_at, shipped_at = rows[0]
    assert (float(amount), units, shipped_at) == (123.4567, 1_234_567, None)
    assert str(placed_at).replace(" ", "T").startswith("2023-11-14T22:13:20.123")
    assert str(paid_at).replace(" ", "T").startswith("2023-11-14T22:14:20.001")
    since = "SELECT count(*) FROM orders WHERE placed_at >= '2023-11-14T22:13:20.123Z'"
    with instance.store.snapshot() as transaction:
        assert transaction.fetch(since) == [(1,)]


def test_a_cancellation_without_an_order_is_a_row_with_its_own_country_and_amount(instance: Instance) -> None:
    instance.settle("orders", "orders", [builders.cancelled("C536379", NOON, amount_e4=27_5000)])
    columns = "order_id, customer_id, country, status, currency, amount_e4, placed_at_ms, cancelled_at_ms"
    assert read(instance.store, "orders", columns) == [
        ("C536379", None, "FR", "cancelled", "EUR", 27_5000, None, NOON)
    ]


def test_a_cancelled_order_keeps_the_amount_that_it_was_placed_with(instance: Instance) -> None:
    instance.settle("orders", "orders", [builders.cancelled("o1", NOON), builders.placed("o1", NOON)])
    assert read(instance.store, "orders", "status, country, amount_e4, cancelled_e4") == [
        ("cancelled", "GB", 10_0000, 5_0000)
    ]


def test_a_device_without_readings_has_one_row_without_a_sensor(instance: Instance) -> None:
    events = [
        builders.connected("quiet", NOON),
        builders.battery_low("quiet", NOON, 7),
        builders.reading("mute", "CPU", NOON, -1.25),
    ]
    instance.settle("devices", "telemetry", events)
    columns = "device_id, sensor, value, unit, firmware, battery_percent, battery_low_at_ms, reading_at_ms"
    assert plain(read(instance.store, "devices", columns)) == [
        ("mute", "CPU", -1.25, "u", None, None, None, NOON),
        ("quiet", None, None, None, "1.0", 7, NOON, None),
    ]


def test_order_metrics_are_summed_over_partitions_by_minute_hour_and_day(instance: Instance) -> None:
    rows = [
        builders.order_metrics(HOUR, 0, 9, True, "GB", 2),
        builders.order_metrics(HOUR, 1, 4, True, "GB", 3),
        builders.order_metrics(HOUR + 60_000, 0, 9, True, "GB", 0),
    ]
    instance.settle("order_metrics", "order-metrics-final", rows)
    columns = "window_start_ms, country, orders, revenue, largest_order, units, cancellations, cancelled, final"
    assert plain(read(instance.store, "order_metrics", columns)) == [
        (HOUR, "GB", 5, 12.5, 3.0, 15, 2, 14.0, True),
        (HOUR + 60_000, "GB", 0, 0.0, None, 0, 1, 7.0, True),
    ]
    for relation, start in (("order_metrics_by_hour", HOUR), ("order_metrics_by_day", DAY)):
        assert plain(read(instance.store, relation, columns)) == [(start, "GB", 5, 12.5, 3.0, 15, 3, 21.0, True)]


def test_product_sales_are_summed_over_partitions(instance: Instance) -> None:
    rows = [
        builders.result("ProductSales", HOUR, p, 9, p == 0, sku="A", units=2, revenue_e4=1_5000) for p in (0, 1)
    ]
    instance.settle("product_sales", "order-metrics", rows)
    for relation in ("product_sales", "product_sales_by_hour", "product_sales_by_day"):
        found = plain(read(instance.store, relation, "sku, units, revenue, revenue_e4, final"))
        assert found == [("A", 4, 3.0, 3_0000, False)]


def test_telemetry_is_merged_and_last_is_the_newest_by_time_then_id(instance: Instance) -> None:
    rows = [
        builders.telemetry_metrics(HOUR, 0, 9, [1_000_000, 2_500_000], HOUR + 5),
        builders.telemetry_metrics(HOUR, 1, 9, [-4_000_000], HOUR + 5),
        builders.telemetry_metrics(HOUR + 60_000, 0, 9, [8_000_000], HOUR + 60_000),
    ]
    instance.settle("telemetry_metrics", "telemetry-metrics-final", rows)
    columns = "window_start_ms, readings, min, max, mean, last, final"
    minutes = plain(read(instance.store, "telemetry_metrics", columns))
    assert minutes == [
        (HOUR, 3, -4.0, 2.5, pytest.approx(-0.166667), -4.0, True),
        (HOUR + 60_000, 1, 8.0, 8.0, 8.0, 8.0, True),
    ]
    for relation, start in (("telemetry_metrics_by_hour", HOUR), ("telemetry_metrics_by_day", DAY)):
        assert plain(read(instance.store, relation, columns)) == [(start, 4, -4.0, 8.0, 1.875, 8.0, True)]


def test_a_new_version_is_built_beside_the_old_one_and_shown_when_it_is_swapped_in(connect: Connect) -> None:
    store, view = connect(), views()["orders"]
    assert prepare(store, [view], 1) == {"orders": 1}
    Instance(store, 1).settle("orders", "orders", [builders.placed("old", NOON)])
    assert prepare(store, [view], 2) == {"orders": 1}
    Instance(store, 2).settle("orders", "orders", [builders.placed("new", NOON)])
    assert read(store, "orders", "order_id") == [("old",)]
    assert prepare(store, [view], 2, swap=True) == {"orders": 2}
    assert read(store, "orders", "order_id") == [("new",)]
    assert prepare(store, [view], 1) == {"orders": 2}
    assert prepare(store, [view], 1, swap=True) == {"orders": 1}
    assert read(store, "orders", "order_id") == [("old",)]


def test_a_view_that_other_sql_built_is_not_continued(connect: Connect) -> None:
    store, view = connect(), views()["orders"]
    prepare(store, [view], 1)
    with store.transaction() as transaction:
        transaction.execute("UPDATE view_versions SET rules = 'others'")
    with pytest.raises(ProtectiveStop, match="view orders of pipeline version 1 was built by other SQL"):
        prepare(store, [view], 1)


def test_a_relation_whose_sql_has_changed_is_made_anew(connect: Connect) -> None:
    store, view = connect(), views()["orders"]
    prepare(store, [view], 1)
    with store.transaction() as transaction:
        transaction.execute("UPDATE view_versions SET shown = 'of an older build'")
        transaction.execute("DROP VIEW orders")
    prepare(store, [view], 1)
    assert read(store, "orders") == []
