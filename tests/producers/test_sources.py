from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from producers.events import Event
from producers.partitions import partitions_of
from producers.rows import Rows
from producers.run import Feed
from producers.sources import History, Modelled, Schedule, Source, as_if_now
from producers.stream import Pulse, Stream
from producers.truth import TopicTruth
from producers.watched import watched
from producers.workload_orders import OrderWorkload
from producers.workload_telemetry import TelemetryWorkload
from tests.producers.sent_back import ENCODERS, events


def event(at: int, key: str = "k") -> Event:
    fields = {
        "event_id": f"00000000-0000-4000-8000-{at:012}", "occurred_at": at, "source": "test", "order_id": key,
        "carrier": "dhl",
    }  # fmt: skip
    return Event("OrderShipped", key, fields)


def encoded(*events: Event) -> Rows:
    return ENCODERS["orders"].rows_of(events, lambda keys: np.array([keys.shape[1]]))


def modelled(schedule: Schedule) -> Modelled:
    return Modelled(OrderWorkload(1, 10, lambda keys: partitions_of(keys, 4)), schedule, ENCODERS["orders"])


@given(
    st.floats(0.1, 100_000),
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=30),
)
def test_a_schedule_gives_each_of_its_times_once_whatever_the_steps(
    rate: float, count: int, steps: list[tuple[int, int]]
) -> None:
    whole = [Schedule(1_000, rate, count).at(number) for number in range(count)]
    schedule, now = Schedule(1_000, rate, count), 1_000
    got: list[int] = []
    for forward, limit in steps:
        now += forward
        times = schedule.take(now, limit).tolist()
        assert len(times) <= limit
        assert all(at <= now for at in times)
        assert len(times) == limit or whole[len(got) + len(times) :][:1] == [] or whole[len(got) + len(times)] > now
        got += times
    got += schedule.take(None, count).tolist()
    assert got == whole
    assert schedule.finished


def test_a_schedule_of_a_duration_ends_with_it() -> None:
    schedule = Schedule(0, 100, end=1_000)
    assert schedule.take(None, 1_000).tolist() == list(range(0, 1_000, 10))
    assert schedule.finished


def test_a_schedule_that_stood_still_goes_on_from_now() -> None:
    schedule = Schedule(0, 1, count=3)
    assert schedule.take(0, 10).tolist() == [0]
    schedule.delay(5_000)
    assert schedule.take(None, 10).tolist() == [6_000, 7_000]


def test_a_history_comes_in_order_when_its_time_has_come() -> None:
    history = History(encoded(event(10), event(20), event(20), event(30)))
    assert history.take(20, 10).times.tolist() == [10, 20, 20]
    assert len(history.take(29, 10)) == 0
    history.delay(100)
    assert [e.occurred_at for e in events("orders", history.take(130, 10))] == [130]
    assert history.finished


@given(st.lists(st.tuples(st.integers(0, 700), st.integers(1, 900)), max_size=12))
def test_a_model_gives_the_same_events_at_their_times_however_it_is_asked(steps: list[tuple[int, int]]) -> None:
    whole = modelled(Schedule(1_000, 500, 3_000)).take(None, 3_000)
    source, now, got = modelled(Schedule(1_000, 500, 3_000)), 1_000, whole.picked(slice(0, 0))
    for forward, limit in steps:
        now += forward
        rows = source.take(now, limit)
        assert len(rows) <= limit
        assert all(rows.times <= now)
        got = got.joined(rows)
        assert len(rows) == limit or whole.times[len(got) :][:1].tolist() == [] or whole.times[len(got)] > now
    got = got.joined(source.take(None, 3_000), source.take(None, 3_000))
    assert got.values.tolist() == whole.values.tolist()
    assert source.finished


def test_a_model_that_stood_still_goes_on_from_now() -> None:
    source = modelled(Schedule(1_000, 10))
    assert source.take(1_000, 10).times.tolist() == [1_000]
    source.delay(5_000)
    rows = source.take(6_200, 10)
    assert rows.times.tolist() == [6_100, 6_200]
    assert [e.occurred_at for e in events("orders", rows)] == [6_100, 6_200]


def test_a_history_that_happens_now_keeps_its_gaps_divided_by_the_speed() -> None:
    moved = as_if_now([event(1_000), event(4_600), event(3_601_000)], start=50_000, speed=3_600)
    assert [e.occurred_at for e in moved] == [50_000, 50_001, 51_000]
    assert [int(e.fields["event_id"][-12:]) for e in moved] == [1_000, 4_600, 3_601_000]
    assert as_if_now([], 0, 1) == []


def test_events_of_files_get_their_partitions_once_their_number_is_known() -> None:
    assert encoded(event(1, "ab"), event(2, "c")).facts["partition"].tolist() == [2, 1]


@given(st.floats(0.1, 10_000), st.none() | st.integers(0, 300), st.none() | st.integers(1, 3_000))
def test_a_schedule_knows_how_many_times_it_will_give(rate: float, count: int | None, duration: int | None) -> None:
    schedule = Schedule(0, rate, count, duration)
    expected = schedule.expected
    assert (expected is None) == (count is None and duration is None)
    if expected is not None:
        assert len(schedule.take(None, expected + 10)) == expected
        assert schedule.finished


class Notes:
    """A progress that is written down."""

    def __init__(self) -> None:
        self.total: int | None = None
        self.done: dict[str, int] = {}

    def begin(self, total: int) -> None:
        self.total = total

    def advance(self, done: int, now: str) -> None:
        self.done[now] = self.done.get(now, 0) + done


def new_feed(topic: str, source: Source) -> Feed:
    truth = TopicTruth(1)
    return Feed(topic, source, Stream(truth, ENCODERS["orders"], Pulse("tests"), Random(1)))


def test_watched_sources_tell_each_event_that_they_give() -> None:
    notes = Notes()
    feeds = [
        new_feed(name, History(encoded(*(event(at) for at in range(count))))) for name, count in (("a", 5), ("b", 2))
    ]
    for feed in watched(feeds, notes):
        assert feed.source.take(0, 100).times.tolist() == [0]
        while not feed.source.finished:
            feed.source.take(None, 2)
    assert (notes.total, notes.done) == (7, {"a": 5, "b": 2})


def test_a_run_of_which_nobody_knows_the_end_has_no_progress() -> None:
    notes = Notes()
    endless = Modelled(
        TelemetryWorkload(1, 1, lambda keys: np.zeros(len(keys), np.int64)), Schedule(0, 10), ENCODERS["telemetry"]
    )
    for feed in watched([new_feed("a", History(encoded(event(1)))), new_feed("b", endless)], notes):
        assert len(feed.source.take(1_000, 100)) > 0
    assert (notes.total, notes.done) == (None, {})
