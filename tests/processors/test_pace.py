"""How often the log is asked for more, and early results go out."""

from processors.pace import Pace
from tests.processors.fakes import batch
from tests.processors.logs import FIRST_PANE, entry, order

PLACED = entry("orders", "OrderPlaced", order("OrderPlaced", 0, FIRST_PANE, 5), 0)


class Clock:
    """A clock that is moved by hand."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def paced(*lags: int) -> float:
    """Return how long the next fetch waits after one that brought a batch of each lag."""
    pace = Pace(0.2, Clock())
    batches = [batch([PLACED]) for _ in lags]
    for each, lag in zip(batches, lags, strict=True):
        each.log_end += lag
    pace.fetched(batches)
    return round(pace.pause_s(), 3)


def test_who_has_read_all_of_the_log_waits_for_an_interval() -> None:
    assert paced(0, 0) == 0.2


def test_who_is_behind_on_any_partition_or_got_nothing_does_not_wait() -> None:
    assert paced(0, 1) == 0.0
    assert paced() == 0.0


def test_early_results_go_out_at_once_after_a_quiet_time_and_then_once_an_interval() -> None:
    clock = Clock()
    pace = Pace(0.2, clock)
    sent = []
    for now_ms in (0, 50, 150, 200, 250, 400, 1_000, 1_010):
        clock.now_s = 100.0 + now_ms / 1_000
        if pace.time_to_send():
            sent.append(now_ms)
            pace.sent()
    assert sent == [0, 200, 400, 1_000]


def test_what_was_fetched_up_to_the_end_of_the_log_is_sent_at_once() -> None:
    pace = Pace(0.2, Clock())
    pace.sent()
    assert not pace.time_to_send()
    pace.fetched([batch([PLACED])])
    assert pace.time_to_send()
