"""Business figures: read from the views when Prometheus scrapes."""

from collections.abc import Callable

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from consumers import figures
from consumers.figures import Figures
from consumers.stores import Store
from consumers.tables import prepare
from penstock import telemetry
from tests.consumers import builders
from tests.consumers.builders import NOON, Instance, views

Connect = Callable[[], Store]


@pytest.fixture
def registry(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    monkeypatch.setattr(figures, "REST_FACTOR", 0)
    registry = CollectorRegistry()
    registry.register(Figures(connect(), views().values(), 1))
    return registry


def test_the_figures_are_those_of_the_views(connect: Connect, registry: CollectorRegistry) -> None:
    store = connect()
    prepare(store, views().values(), 1)
    instance = Instance(store)
    instance.settle("orders", "orders", [builders.placed("o1", NOON), builders.placed("o2", NOON)])
    instance.settle("orders", "orders", [builders.cancelled("o2", NOON)])
    rows = [builders.order_metrics(NOON, partition, 9, True, "GB", 2) for partition in (0, 1)]
    instance.settle("order_metrics", "order-metrics-final", rows)
    instance.settle("telemetry_metrics", "telemetry-metrics", [builders.telemetry_metrics(NOON, 0, 9, [1, 2, 3], NOON)])
    instance.settle("dead_letters", "dead-letters", [builders.letter("DeadLetter", 1, reason="malformed", detail="")])
    value = registry.get_sample_value
    assert value("penstock_business_orders", {"status": "placed"}) == 1
    assert value("penstock_business_orders", {"status": "cancelled"}) == 1
    assert value("penstock_business_orders_placed", {"country": "GB"}) == 4
    assert value("penstock_business_revenue", {"country": "GB"}) == 10.0
    assert value("penstock_business_readings", {"sensor": "CPU"}) == 3
    assert value("penstock_business_units") == 0
    assert value("penstock_business_dead_letters", {"topic": "orders", "reason": "malformed"}) == 1
    instance.settle("orders", "orders", [builders.paid("o1", NOON)])
    assert value("penstock_business_orders", {"status": "placed"}) is None
    assert value("penstock_business_orders", {"status": "paid"}) == 1


def test_a_database_that_has_no_tables_yet_costs_the_figures_and_not_the_scrape(registry: CollectorRegistry) -> None:
    assert b"penstock_business_units " not in generate_latest(registry)


def test_the_views_side_of_the_books_is_one_gauge_by_topic_partition_and_fate(
    connect: Connect, registry: CollectorRegistry
) -> None:
    store = connect()
    prepare(store, views().values(), 1)
    instance = Instance(store)
    dead = [builders.letter("DeadLetter", offset, reason="malformed", detail="") for offset in (1, 2)]
    instance.settle("dead_letters", "dead-letters", dead)
    late = builders.letter("LateEvent", 3, event_id="e", occurred_at=NOON, watermark=NOON)
    instance.settle("late_events", "late-events", [late, late])
    counts = ((NOON, 2, True, 5), (NOON + 60_000, 2, False, 7), (NOON, 1, False, 4))
    panes = [builders.result("PaneCounted", pane, number, 9, final, applied=n) for pane, number, final, n in counts]
    instance.settle("pane_counts", "order-metrics", panes)
    name = telemetry.BOOKS_VIEW_EVENTS.name
    for partition, fate, count in (("2", "dead", 2), ("2", "late", 1), ("2", "applied", 12), ("1", "applied", 4)):
        labels = {"topic": "orders", "partition": partition, "fate": fate}
        assert registry.get_sample_value(name, labels) == count
    assert generate_latest(registry).decode().count(f"# TYPE {name} gauge") == 1


def test_a_gauge_of_which_a_part_cannot_be_read_is_left_out(connect: Connect, registry: CollectorRegistry) -> None:
    store = connect()
    prepare(store, views().values(), 1)
    letter = builders.letter("DeadLetter", 1, reason="malformed", detail="")
    Instance(store).settle("dead_letters", "dead-letters", [letter])
    assert b"penstock_books_view_events{" in generate_latest(registry)
    with store.transaction() as transaction:
        transaction.execute("DROP VIEW pane_counts")
        transaction.execute("DROP TABLE pane_counts_v1")
    assert b"penstock_books_view_events{" not in generate_latest(registry)


def test_the_books_gauge_is_the_one_that_is_declared() -> None:
    declared = telemetry.BOOKS_VIEW_EVENTS
    found = [figure for view in views().values() for figure in view.figures if figure.name == declared.name]
    assert len(found) == 3
    assert {(figure.help, figure.labels) for figure in found} == {(declared.help, declared.labels)}


def test_the_business_figures_have_names_of_their_own() -> None:
    every = [figure.name for view in views().values() for figure in view.figures]
    names = [name for name in every if name != telemetry.BOOKS_VIEW_EVENTS.name]
    assert len(names) == len(set(names))
    assert all(name.startswith("penstock_business_") for name in names)


def test_figures_of_the_last_day_and_minutes_go_by_the_events_time(
    connect: Connect, registry: CollectorRegistry
) -> None:
    store = connect()
    prepare(store, views().values(), 1)
    instance = Instance(store)
    minute, day = 60_000, 86_400_000
    sales = [(f"sku-{n:02}", NOON, n) for n in range(1, 13)] + [("old", NOON - day, 99), ("sku-12", NOON - minute, 1)]
    rows = [
        builders.result("ProductSales", pane, 0, 9, True, sku=sku, units=1, revenue_e4=revenue * 10_000)
        for sku, pane, revenue in sales
    ]
    instance.settle("product_sales", "order-metrics-final", rows)
    readings = [(NOON, [8_000_000]), (NOON - 4 * minute, [4_000_000, 6_000_000]), (NOON - 5 * minute, [99_000_000])]
    panes = [builders.telemetry_metrics(pane, 0, 9, values, pane) for pane, values in readings]
    instance.settle("telemetry_metrics", "telemetry-metrics", panes)
    events = [builders.reading(f"d{n}", "CPU", NOON - n * minute, 1.0) for n in (0, 10, 11, 12)]
    events += [builders.battery_low("d1", NOON - day + 1, 5), builders.battery_low("d2", NOON - day, 5)]
    instance.settle("devices", "telemetry", events)
    value = registry.get_sample_value
    best = {sku: value("penstock_business_product_revenue", {"sku": sku}) for sku, _, _ in sales}
    kept = {f"sku-{n:02}": n for n in range(3, 12)}
    assert best == {**kept, "sku-12": 13, "sku-01": None, "sku-02": None, "old": None}
    assert value("penstock_business_reading_mean", {"sensor": "CPU"}) == 6.0
    assert value("penstock_business_silent_devices", {"sensor": "CPU"}) == 2
    assert value("penstock_business_low_batteries") == 1
