"""How old what the views show is: a second that nothing fresh was seen in counts, whatever the reason."""

from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumers.freshness import LIVE_WITHIN_S, MAX_LOOKS, PROBE, Freshness
from consumers.materialization import topics_of
from consumers.stores import Store
from consumers.tables import prepare
from tests.consumers.builders import NOON, TOPIC_ID, Instance, read, views


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def seen(clock: Clock) -> "Seen":
    return Seen(clock)


class Seen:
    def __init__(self, clock: Clock) -> None:
        self.freshness, self.registry = Freshness(("orders", "telemetry"), clock), CollectorRegistry()
        self.registry.register(self.freshness)

    def within(self, seconds: str, topic: str = "orders") -> float | None:
        return self.registry.get_sample_value("penstock_freshness_seconds_bucket", {"topic": topic, "le": seconds})

    def looks(self, topic: str = "orders") -> float | None:
        return self.registry.get_sample_value("penstock_freshness_seconds_count", {"topic": topic})

    def age(self, partition: str = "0") -> float | None:
        labels = {"topic": "orders", "partition": partition}
        return self.registry.get_sample_value("penstock_freshness_probe_age_seconds", labels)


def test_without_a_probe_nothing_is_said_but_all_topics_are_there(seen: Seen, clock: Clock) -> None:
    clock.now += 60
    assert (seen.looks("orders"), seen.looks("telemetry"), seen.age()) == (0, 0, None)


def test_a_steady_flow_of_probes_is_fresh_each_second(seen: Seen, clock: Clock) -> None:
    for _ in range(20):
        clock.now += 1
        seen.freshness.passed("orders", 0, clock.now - 0.4)
    clock.now += 1
    assert seen.looks() == seen.within("2.5") == 20
    assert seen.age() == pytest.approx(1.4)


def test_each_second_in_which_nothing_comes_counts_and_is_older_than_the_last(seen: Seen, clock: Clock) -> None:
    seen.freshness.passed("orders", 0, clock.now)
    clock.now += 400
    assert seen.looks() == 400
    assert (seen.within("10.0"), seen.within("300.0")) == (10, 300)
    assert seen.age() == 400


def test_one_partition_that_stands_still_is_seen_among_those_that_move(seen: Seen, clock: Clock) -> None:
    for _ in range(100):
        seen.freshness.passed("orders", 0, clock.now)
        seen.freshness.passed("orders", 1, 1_000_000.0)
        clock.now += 1
    assert (seen.age("0"), seen.age("1")) == (1, 100)
    assert seen.within("10.0") == 100 + 10


def test_an_older_probe_from_a_zombie_changes_nothing(seen: Seen, clock: Clock) -> None:
    seen.freshness.passed("orders", 0, clock.now - 1)
    seen.freshness.passed("orders", 0, clock.now - 50)
    assert seen.age() == 1


def test_history_that_a_view_is_built_from_is_not_counted(seen: Seen, clock: Clock) -> None:
    for ago in (86_400.0, LIVE_WITHIN_S + 1):
        seen.freshness.passed("orders", 0, clock.now - ago)
        clock.now += 5
    assert (seen.looks(), seen.age()) == (0, None)
    seen.freshness.passed("orders", 0, clock.now - LIVE_WITHIN_S + 1)
    clock.now += 5
    assert seen.looks() == 5


def test_a_backlog_after_an_outage_counts_until_it_is_over(seen: Seen, clock: Clock) -> None:
    seen.freshness.passed("orders", 0, clock.now)
    clock.now += 1_000
    seen.freshness.passed("orders", 0, clock.now - 900)
    assert seen.age() == 900


def test_partitions_that_moved_elsewhere_are_no_longer_looked_at(seen: Seen, clock: Clock) -> None:
    seen.freshness.passed("orders", 0, clock.now)
    clock.now += 10
    seen.freshness.forget()
    clock.now += 10
    assert (seen.looks(), seen.age()) == (10, None)


def test_a_clock_that_is_set_neither_hangs_nor_stops_the_looks(seen: Seen, clock: Clock) -> None:
    seen.freshness.passed("orders", 0, clock.now)
    clock.now += 10 * MAX_LOOKS
    looks = seen.looks()
    assert looks is not None
    assert looks <= MAX_LOOKS + 2
    clock.now -= 500_000
    seen.looks()
    clock.now += 3
    later = seen.looks()
    assert later is not None
    assert looks + 3 <= later <= looks + 5


def test_the_view_keeps_the_newest_probe_of_each_partition(connect: Callable[[], Store]) -> None:
    def passed(partition: int, next_offset: int, sent_at: int) -> tuple[str, dict[str, Any]]:
        place = {"source_topic": "orders", "source_topic_id": TOPIC_ID, "source_partition": partition}
        return PROBE, {**place, "next_offset": next_offset, "sent_at": sent_at}

    store = connect()
    prepare(store, views().values(), 1, swap=True)
    instance = Instance(store)
    instance.settle("freshness", "freshness", [passed(0, 5, NOON), passed(1, 3, NOON), passed(0, 9, NOON + 2)])
    instance.settle("freshness", "freshness", [passed(0, 7, NOON + 9)])  # of a zombie
    rows = read(store, "freshness", "source_topic, partition, next_offset, sent_at_ms", "partition")
    assert rows == [("orders", 0, 9, NOON + 2), ("orders", 1, 3, NOON)]


def test_probes_are_merged_behind_the_results_that_they_speak_for() -> None:
    topics = topics_of(views().values())
    assert [topic.name for topic in topics if topic.role == "probes"] == [topics[-1].name] == ["freshness"]
