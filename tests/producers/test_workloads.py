"""The models, as their events are read back."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from producers.events import Ints
from producers.workload_orders import OrderWorkload
from producers.workload_telemetry import LOW_PERCENT, TelemetryWorkload
from tests.producers.sent_back import Said, batch

NOON = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 43_200_000
NIGHT = NOON - 9 * 3_600_000


def by_last_byte(keys: "np.typing.NDArray[np.uint8]") -> Ints:
    return keys[:, -1].astype(np.int64) % 4


class Orders:
    """The model of orders, its events read back."""

    def __init__(self, seed: int = 1, customers: int = 500) -> None:
        self.model = OrderWorkload(seed, customers, by_last_byte)

    def batch(self, times: Sequence[int]) -> list[Said]:
        return batch("orders", self.model, times)


class Telemetry:
    """The same of devices."""

    def __init__(self, seed: int = 1, devices: int = 20) -> None:
        self.model = TelemetryWorkload(seed, devices, by_last_byte)

    def batch(self, times: Sequence[int]) -> list[Said]:
        return batch("telemetry", self.model, times)


def lives(events: list[Said]) -> dict[str, list[Said]]:
    by_key: dict[str, list[Said]] = {}
    for event in events:
        by_key.setdefault(event.key, []).append(event)
    return by_key


@pytest.mark.parametrize("make", [Orders, Telemetry])
def test_the_same_seed_makes_the_same_events_however_they_are_asked_for(make: Any) -> None:
    times = range(NOON, NOON + 30_000, 10)
    whole = make(7).batch(times)
    model, borders = make(7), [0, 1, 2, 3, 10, 777, 778, 2_950, len(times)]
    assert [event for a, b in pairwise(borders) for event in model.batch(times[a:b])] == whole
    assert make(8).batch(times) != whole


@pytest.mark.parametrize("make", [Orders, Telemetry])
def test_an_event_of_a_model_has_its_own_id_its_time_and_the_partition_of_its_key(make: Any) -> None:
    times = range(NOON, NOON + 50_000, 10)
    events = make(1).batch(times)
    assert [event.occurred_at for event in events] == list(times)
    assert len({event.fields["event_id"] for event in events}) == len(events)
    assert all(str(UUID(event.fields["event_id"])) == event.fields["event_id"] for event in events)
    assert all(event.partition == ord(event.key[-1]) % 4 for event in events)
    assert all(event.key in (event.fields.get("order_id"), event.fields.get("device_id")) for event in events)


def test_an_order_is_worth_the_sum_of_its_lines() -> None:
    for event in Orders().batch(range(NOON, NOON + 60_000, 20)):
        if "amount_e4" in event.fields:
            items = event.fields["items"]
            assert items
            assert event.fields["amount_e4"] == sum(item["quantity"] * item["unit_price_e4"] for item in items)


def test_an_order_lives_on_in_the_order_that_a_shop_knows() -> None:
    events = Orders().batch(range(NOON, NOON + 300_000, 15))
    letters = {"OrderPlaced": "p", "OrderPaid": "$", "OrderShipped": "s", "OrderCancelled": "c"}
    stories = Counter("".join(letters[event.record] for event in life) for life in lives(events).values())
    assert all(re.fullmatch(r"p(\$(sc?|c)?|c)?", story) for story in stories)
    assert stories["p$s"] > 1_000
    assert min(stories["pc"], stories["p$sc"], stories["p$c"]) > 0


def test_a_cancelled_order_names_what_was_ordered() -> None:
    for life in lives(Orders().batch(range(NOON, NOON + 120_000, 20))).values():
        if life[-1].record == "OrderCancelled":
            for name in ("items", "amount_e4", "country", "currency"):
                assert life[-1].fields[name] == life[0].fields[name]


def test_few_products_and_customers_make_most_of_the_sales() -> None:
    events = Orders(customers=1_000).batch(range(NOON, NOON + 60_000, 10))
    skus = Counter(item["sku"] for event in events if event.record == "OrderPlaced" for item in event.fields["items"])
    buyers = Counter(event.fields.get("customer_id") for event in events if event.record == "OrderPlaced")
    assert buyers.pop(None) > 0
    for counts in (skus, buyers):
        top = [count for _, count in counts.most_common(len(counts) // 10)]
        assert sum(top) > 0.35 * sum(counts.values())


def test_customers_of_a_country_buy_less_while_it_is_night_there() -> None:
    def share(country: str, start: int) -> float:
        placed = [e for e in Orders().batch(range(start, start + 60_000, 10)) if e.record == "OrderPlaced"]
        return sum(event.fields["country"] == country for event in placed) / len(placed)

    assert share("United Kingdom", NIGHT) < share("United Kingdom", NOON)
    assert share("Japan", NIGHT) > share("Japan", NOON)


def test_orders_that_wait_for_their_next_step_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producers.order_lives.MAX_LIVING_ORDERS", 50)
    events = Orders().batch([*[NOON] * 5_000, *range(NOON + 2_000, NOON + 7_000)])
    places = {event.key: place for place, event in enumerate(events) if event.record == "OrderPlaced"}
    steps = [place - places[event.key] for place, event in enumerate(events) if event.record != "OrderPlaced"]
    assert len(places) < 5_000 + 2_600
    assert max(steps) < 10_000


def test_a_device_connects_before_its_first_reading_and_after_each_silence() -> None:
    events = Telemetry(devices=5).batch(range(NOON, NOON + 600_000, 20))
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
    by_device = lives(Telemetry(devices=3).batch(range(NOON, NOON + 4 * 7_200_000, 400)))
    gateway = by_device.pop("d-00001")
    assert "BatteryLow" not in {event.record for event in gateway}
    for life in by_device.values():
        records = [event.record for event in life]
        warnings = [index for index, record in enumerate(records) if record == "BatteryLow"]
        assert warnings
        assert all("DeviceConnected" in records[a:b] for a, b in pairwise(warnings))
        assert all(0 <= life[index].fields["charge_percent"] < LOW_PERCENT for index in warnings)


def test_a_reading_keeps_to_what_its_sensor_can_say_and_moves_over_the_day() -> None:
    def mean(start: int) -> float:
        model = Telemetry(devices=4)
        events = model.batch(range(start, start + 40_000, 10))
        values = [e.fields["value"] for e in events if e.fields.get("sensor") == "CPU"]
        assert all(0 <= value <= 100 for value in values)
        assert all(value == round(value, 3) for value in values)
        return float(sum(values) / len(values))

    assert len({round(mean(NOON + hour * 3_600_000)) for hour in range(0, 24, 4)}) > 2


def test_a_device_that_is_offline_leaves_no_gap_a_gateway_reads_in_its_place() -> None:
    for devices in (1, 2, 30):
        events = Telemetry(devices=devices).batch(range(NOON, NOON + 600_000, 100))
        assert len(events) == 6_000
        counts = Counter(event.key for event in events)
        assert max(counts, key=lambda key: counts[key]) in ("d-00001", "d-00011", "d-00021")
