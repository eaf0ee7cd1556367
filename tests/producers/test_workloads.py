import re
from collections import Counter
from itertools import pairwise
from uuid import UUID

import pytest

from producers.events import Event, Workload
from producers.workload_orders import OrderWorkload
from producers.workload_telemetry import LOW_PERCENT, TelemetryWorkload

NOON = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
NIGHT = NOON - 9 * 3_600_000


def four(key: str) -> int:
    return len(key) % 4


def orders(seed: int = 1, customers: int = 500) -> OrderWorkload:
    return OrderWorkload(seed, customers, four)


def telemetry(seed: int = 1, devices: int = 20) -> TelemetryWorkload:
    return TelemetryWorkload(seed, devices, four)


def lives(events: list[Event]) -> dict[str, list[Event]]:
    by_key: dict[str, list[Event]] = {}
    for event in events:
        by_key.setdefault(event.key, []).append(event)
    return by_key


@pytest.mark.parametrize("make", [orders, telemetry])
def test_the_same_seed_makes_the_same_events_however_they_are_asked_for(make: type[Workload]) -> None:
    times = range(NOON, NOON + 30_000, 10)
    whole = make(7).batch(times)
    model = make(7)
    assert [event for at in times for event in model.batch([at])] == whole
    assert make(8).batch(times) != whole


@pytest.mark.parametrize("make", [orders, telemetry])
def test_an_event_of_a_model_has_its_own_id_its_time_and_the_partition_of_its_key(make: type[Workload]) -> None:
    times = range(NOON, NOON + 50_000, 10)
    events = make(1).batch(times)
    assert [event.occurred_at for event in events] == list(times)
    assert len({event.fields["event_id"] for event in events}) == len(events)
    assert all(str(UUID(event.fields["event_id"])) == event.fields["event_id"] for event in events)
    assert all(event.partition == four(event.key) for event in events)
    assert all(event.key in (event.fields.get("order_id"), event.fields.get("device_id")) for event in events)


def test_an_order_is_worth_the_sum_of_its_lines() -> None:
    for event in orders().batch(range(NOON, NOON + 60_000, 20)):
        if "amount_e4" in event.fields:
            items = event.fields["items"]
            assert items
            assert event.fields["amount_e4"] == sum(item["quantity"] * item["unit_price_e4"] for item in items)


def test_an_order_lives_on_in_the_order_that_a_shop_knows() -> None:
    events = orders().batch(range(NOON, NOON + 300_000, 15))
    letters = {"OrderPlaced": "p", "OrderPaid": "$", "OrderShipped": "s", "OrderCancelled": "c"}
    stories = Counter("".join(letters[event.record] for event in life) for life in lives(events).values())
    assert all(re.fullmatch(r"p(\$(sc?|c)?|c)?", story) for story in stories)
    assert stories["p$s"] > 1_000
    assert min(stories["pc"], stories["p$sc"], stories["p$c"]) > 0


def test_a_cancelled_order_names_what_was_ordered() -> None:
    for life in lives(orders().batch(range(NOON, NOON + 120_000, 20))).values():
        if life[-1].record == "OrderCancelled":
            for name in ("items", "amount_e4", "country", "currency"):
                assert life[-1].fields[name] == life[0].fields[name]


def test_few_products_and_customers_make_most_of_the_sales() -> None:
    events = orders(customers=1_000).batch(range(NOON, NOON + 60_000, 10))
    skus = Counter(item["sku"] for event in events if event.record == "OrderPlaced" for item in event.fields["items"])
    buyers = Counter(event.fields.get("customer_id") for event in events if event.record == "OrderPlaced")
    assert buyers.pop(None) > 0
    for counts in (skus, buyers):
        top = [count for _, count in counts.most_common(len(counts) // 10)]
        assert sum(top) > 0.35 * sum(counts.values())


def test_customers_of_a_country_buy_less_while_it_is_night_there() -> None:
    def share(country: str, start: int) -> float:
        placed = [e for e in orders().batch(range(start, start + 60_000, 10)) if e.record == "OrderPlaced"]
        return sum(event.fields["country"] == country for event in placed) / len(placed)

    assert share("United Kingdom", NIGHT) < share("United Kingdom", NOON)
    assert share("Japan", NIGHT) > share("Japan", NOON)


def test_orders_that_wait_for_their_next_step_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.workload_orders.MAX_LIVING_ORDERS", 50)
    events = orders().batch([NOON] * 5_000)
    assert Counter(event.record for event in events)["OrderPlaced"] < 2_600


def test_a_device_connects_before_its_first_reading_and_after_each_silence() -> None:
    events = telemetry(devices=5).batch(range(NOON, NOON + 600_000, 20))
    by_device = lives(events)
    assert len(by_device) == 5
    assert all(life[0].record == "DeviceConnected" for life in by_device.values())
    silences = 0
    for life in by_device.values():
        for before, after in pairwise(life):
            if after.occurred_at - before.occurred_at > 5_000:
                silences += 1
                assert after.record == "DeviceConnected"
    assert silences > 0


def test_a_battery_runs_low_once_until_it_is_replaced() -> None:
    by_device = lives(telemetry(devices=3).batch(range(NOON, NOON + 400_000, 10)))
    for life in by_device.values():
        records = [event.record for event in life]
        warnings = [index for index, record in enumerate(records) if record == "BatteryLow"]
        assert warnings
        assert all("DeviceConnected" in records[a:b] for a, b in pairwise(warnings))
        assert all(0 <= life[index].fields["charge_percent"] < LOW_PERCENT for index in warnings)


def test_a_reading_keeps_to_what_its_sensor_can_say_and_moves_over_the_day() -> None:
    def mean(start: int) -> float:
        model = telemetry(devices=4)
        events = model.batch(range(start, start + 40_000, 10))
        values = [e.fields["value"] for e in events if e.fields.get("sensor") == "CPU"]
        assert all(0 <= value <= 100 for value in values)
        assert all(value == round(value, 3) for value in values)
        return float(sum(values) / len(values))

    assert len({round(mean(NOON + hour * 3_600_000)) for hour in range(0, 24, 4)}) > 2


def test_devices_that_are_all_offline_come_back_early_rather_than_leave_a_gap() -> None:
    model = telemetry(devices=1)
    assert len(model.batch(range(NOON, NOON + 60_000, 10))) == 6_000
