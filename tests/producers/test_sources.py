from hypothesis import given
from hypothesis import strategies as st

from producers.events import UNPLACED, Event
from producers.sources import History, Schedule, as_if_now, placed


def event(at: int, key: str = "k") -> Event:
    return Event("OrderShipped", key, UNPLACED, {"event_id": f"{at}", "occurred_at": at})


@given(
    st.floats(0.1, 100_000),
    st.integers(0, 300),
    st.lists(st.tuples(st.integers(0, 500), st.integers(1, 50)), max_size=30),
)
def test_a_schedule_gives_each_of_its_times_once_whatever_the_steps(
    rate: float, count: int, steps: list[tuple[int, int]]
) -> None:
    whole = [Schedule(1_000, rate, count).at(number) for number in range(count)]
    schedule, now, got = Schedule(1_000, rate, count), 1_000, []
    for forward, limit in steps:
        now += forward
        times = schedule.take(now, limit)
        assert len(times) <= limit
        assert all(at <= now for at in times)
        assert len(times) == limit or whole[len(got) + len(times) :][:1] == [] or whole[len(got) + len(times)] > now
        got += times
    got += schedule.take(None, count)
    assert got == whole
    assert schedule.finished


def test_a_schedule_of_a_duration_ends_with_it() -> None:
    schedule = Schedule(0, 100, end=1_000)
    assert schedule.take(None, 1_000) == list(range(0, 1_000, 10))
    assert schedule.finished


def test_a_schedule_that_stood_still_goes_on_from_now() -> None:
    schedule = Schedule(0, 1, count=3)
    assert schedule.take(0, 10) == [0]
    schedule.delay(5_000)
    assert schedule.take(None, 10) == [6_000, 7_000]


def test_a_history_comes_in_order_when_its_time_has_come() -> None:
    history = History([event(10), event(20), event(20), event(30)])
    assert [e.occurred_at for e in history.take(20, 10)] == [10, 20, 20]
    assert history.take(29, 10) == []
    history.delay(100)
    assert [e.fields["occurred_at"] for e in history.take(130, 10)] == [130]
    assert history.finished


def test_a_history_that_happens_now_keeps_its_gaps_divided_by_the_speed() -> None:
    moved = as_if_now([event(1_000), event(4_600), event(3_601_000)], start=50_000, speed=3_600)
    assert [e.occurred_at for e in moved] == [50_000, 50_001, 51_000]
    assert [e.fields["event_id"] for e in moved] == ["1000", "4600", "3601000"]
    assert as_if_now([], 0, 1) == []


def test_events_of_files_get_their_partitions_once_their_number_is_known() -> None:
    assert [e.partition for e in placed([event(1, "ab"), event(2, "c")], len)] == [2, 1]
