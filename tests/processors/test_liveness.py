"""What the processors' liveness goes by: that the main loop runs, and that what was fetched is folded."""

import asyncio
from typing import Any

import pytest

from penstock.health import STALLED_AFTER_S, Health
from penstock.settings import load_settings
from processors.sender import Sender
from processors.stall import Backlog
from tests.processors.fakes import ORDERS, Stand, batch
from tests.processors.test_worker import placed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    made = Health(clock)
    made.started()
    return made


def test_fetched_records_that_are_never_folded_turn_liveness_red(health: Health, clock: Clock) -> None:
    backlog = Backlog(health)
    backlog.fetched(5)
    backlog.look()
    clock.now = STALLED_AFTER_S + 1
    backlog.look()
    assert health.live() == {"stalled": f"5 records wait, and for {clock.now:.0f} s no offset moved"}
    backlog.folded(ORDERS, 3, 3)
    backlog.look()
    assert health.live() == {}


def test_what_a_rebalance_drops_is_not_waited_for(health: Health, clock: Clock) -> None:
    backlog = Backlog(health)
    backlog.fetched(5)
    backlog.forget()
    clock.now = STALLED_AFTER_S + 1
    backlog.look()
    assert health.live() == {}


def test_the_worker_counts_what_it_folded(health: Health, clock: Clock) -> None:
    stand = Stand()
    stand.worker.backlog = Backlog(health)
    stand.begin()
    stand.worker.backlog.fetched(2)
    asyncio.run(stand.worker.process(batch([placed(0, 0), placed(1, 1)])))
    clock.now = STALLED_AFTER_S + 1
    stand.worker.backlog.look()
    assert health.live() == {}


class FullQueue:
    """A client whose queue is full until it was polled."""

    def __init__(self, _config: dict[str, Any]) -> None:
        self.full = True

    def produce(self, *_message: object, **_options: object) -> None:
        if self.full:
            raise BufferError

    def poll(self, _timeout_s: float) -> None:
        self.full = False


def test_a_main_loop_that_waits_for_room_to_send_beats_meanwhile(health: Health, clock: Clock) -> None:
    Backlog(health).look()
    clock.now = STALLED_AFTER_S + 1
    assert "hung" in health.live()
    Sender(load_settings(embedded=True), health, FullQueue).send("order-metrics.v1", [(b"key", b"value")])
    assert health.live() == {}
