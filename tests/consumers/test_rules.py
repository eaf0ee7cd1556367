"""What enters a view, what is skipped, and what stops."""

from collections.abc import Callable

import pytest

from consumers.materializer import check_sources
from consumers.stores import Store
from consumers.tables import prepare
from penstock.errors import ExitCode, ProtectiveStop
from penstock.pipeline import MAX_AHEAD_MS
from tests.consumers import builders
from tests.consumers.builders import NOON, TOPIC_ID, Instance, batch, read, views

Connect = Callable[[], Store]


def instance_of(connect: Connect, view: str) -> Instance:
    store = connect()
    prepare(store, [views()[view]], 1)
    return Instance(store)


def test_an_event_that_is_too_far_ahead_of_its_append_time_is_skipped(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    events = [builders.placed("at-the-limit", NOON + MAX_AHEAD_MS), builders.placed("ahead", NOON + MAX_AHEAD_MS + 1)]
    instance.settle("orders", "orders", events, appended_at=NOON)
    assert read(instance.store, "orders", "order_id") == [("at-the-limit",)]
    assert instance.skipped == {"ahead-of-time": 1}


def test_a_late_event_is_in_the_entity_view(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    events = [builders.placed("o1", NOON), builders.placed("o2", NOON - 86_400_000 * 400)]
    instance.settle("orders", "orders", events)
    assert len(read(instance.store, "orders")) == 2


def test_what_can_not_be_decoded_is_skipped_and_counted_and_its_neighbours_go_on(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    good = [builders.placed("o1", NOON), builders.paid("o1", NOON)]
    instance.settle("orders", "orders", [good[0], b"rubbish", None, b"\0\0\0\0\7short", good[1]])
    assert read(instance.store, "orders", "order_id, status") == [("o1", "paid")]
    assert instance.skipped == {"not-avro": 1, "no-value": 1, "malformed": 1}
    assert instance.next("orders", "orders") == 5


def test_a_skipped_record_that_was_counted_before_is_not_counted_again(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    instance.settle("orders", "orders", [b"rubbish", b"rubbish"])
    instance.settle("orders", "orders", [b"rubbish", b"rubbish", b"rubbish"], begin=0)
    assert instance.skipped == {"not-avro": 1}


def test_of_two_events_with_one_identity_the_first_in_the_log_stays(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    copies = [builders.placed("o1", NOON, 1, country=country) for country in ("GB", "DE", "FR")]
    instance.settle("orders", "orders", copies[:2])
    instance.settle("orders", "orders", copies[2:])
    assert read(instance.store, "orders", "country") == [("GB",)]


def test_a_heartbeat_moves_the_offset_and_no_row(connect: Connect) -> None:
    instance = instance_of(connect, "orders")
    instance.settle("orders", "orders", [builders.heartbeat(NOON)])
    assert read(instance.store, "orders") == []
    assert instance.look().next("orders", "orders") == 1


def test_a_result_of_a_topic_that_was_recreated_stops() -> None:
    rows = [builders.order_metrics(NOON, 0, 5, True, "GB", 1)]
    found, decoded = batch("order-metrics-final", rows)
    check_sources(found, decoded, {"orders": TOPIC_ID})
    with pytest.raises(ProtectiveStop, match="was folded from orders with topic id") as caught:
        check_sources(found, decoded, {"orders": "another"})
    assert caught.value.exit_code == ExitCode.STOPPED


def test_the_panes_of_both_sources_are_in_one_view(connect: Connect) -> None:
    instance = instance_of(connect, "pane_counts")
    for topic, applied in (("order-metrics", 3), ("telemetry-metrics-final", 4)):
        row = builders.result("PaneCounted", NOON, 1, 9, topic.endswith("final"), applied=applied)
        instance.settle("pane_counts", topic, [row])
    columns = "source_topic, window_start_ms, partition, applied, next_offset, final"
    rows = [(*row[:5], bool(row[5])) for row in read(instance.store, "pane_counts", columns)]
    assert rows == [("orders", NOON, 1, 3, 9, False), ("telemetry", NOON, 1, 4, 9, True)]
