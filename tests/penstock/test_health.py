"""Liveness: offsets move while there is lag, and loops run."""

from penstock.health import STALLED_AFTER_S, Health


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def stage() -> tuple[Health, Clock]:
    clock = Clock()
    health = Health(clock)
    health.started()
    return health, clock


def test_a_stage_that_stands_still_before_records_that_are_there_is_not_live() -> None:
    health, clock = stage()
    health.reached({"orders": 5}, lag=10)
    clock.now = STALLED_AFTER_S - 1
    health.reached({"orders": 5}, lag=12)
    assert health.live() == {}
    clock.now = STALLED_AFTER_S + 1
    assert "12 records wait" in health.live()["stalled"]
    health.reached({"orders": 6}, lag=11)
    assert health.live() == {}


def test_without_lag_nothing_has_to_move() -> None:
    health, clock = stage()
    health.reached({"orders": 5}, lag=0)
    clock.now = 10 * STALLED_AFTER_S
    health.reached({"orders": 5}, lag=0)
    assert health.live() == {}
    health.reached({"orders": 5}, lag=1)
    assert health.live() == {}


def test_a_stage_that_waits_for_a_part_is_live_and_has_its_time_again_when_the_part_is_back() -> None:
    health, clock = stage()
    health.reached({"orders": 5}, lag=10)
    health.away("database", "refused")
    clock.now = 10 * STALLED_AFTER_S
    assert health.live() == {}
    health.here("database")
    assert health.live() == {}
    clock.now += STALLED_AFTER_S + 1
    assert "stalled" in health.live()


def test_a_loop_that_no_longer_runs_is_not_live_whether_parts_are_away_or_not() -> None:
    health, clock = stage()
    health.beat("the main loop")
    clock.now = STALLED_AFTER_S
    assert health.live() == {}
    health.away("kafka", "refused")
    clock.now += 1
    assert health.live() == {"hung": f"the main loop has not run for {clock.now:.0f} s"}
    health.beat("the main loop")
    assert health.live() == {}


def test_a_loop_that_waits_for_parts_may_stand_still_while_one_is_away() -> None:
    health, clock = stage()
    health.beat("the consumer thread", waits=True)
    health.away("kafka", "refused")
    clock.now = 10 * STALLED_AFTER_S
    assert health.live() == {}
    health.here("kafka")
    clock.now += STALLED_AFTER_S
    assert health.live() == {}
    clock.now += 1
    assert "the consumer thread" in health.live()["hung"]


def test_a_stage_whose_loops_have_not_begun_is_live() -> None:
    health, clock = stage()
    clock.now = 10 * STALLED_AFTER_S
    assert health.live() == {}
