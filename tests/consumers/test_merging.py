"""The merge in hand: one at a time, in order, and what it raises is raised where it is waited for."""

import threading
from collections.abc import Iterator

import pytest

from consumers.merging import InThread, Merging, OnFinish
from penstock.errors import Unavailable

WAIT_S = 60.0


@pytest.fixture(params=[OnFinish, InThread])
def merging(request: pytest.FixtureRequest) -> Iterator[Merging]:
    made: Merging = request.param()
    yield made
    made.close()


def test_work_is_done_once_and_before_finish_returns(merging: Merging) -> None:
    done: list[int] = []
    for number in range(100):
        merging.start(lambda number=number: done.append(number))  # type: ignore[misc]
        merging.finish()
        merging.finish()
        assert done == list(range(number + 1))


def test_work_that_failed_is_done_again_when_it_is_asked_for_again(merging: Merging) -> None:
    tried: list[str] = []

    def work() -> None:
        tried.append(threading.current_thread().name)
        if len(tried) < 3:
            raise Unavailable("the database is away")

    merging.start(work)
    for _ in range(2):
        with pytest.raises(Unavailable, match="is away"):
            merging.finish()
    merging.finish()
    merging.finish()
    assert len(tried) == 3
    assert tried[1:] == [threading.current_thread().name] * 2, "the caller answers the broker between its attempts"


def test_work_that_failed_for_good_does_not_come_back_with_the_next(merging: Merging) -> None:
    done: list[str] = []

    def fails() -> None:
        raise ValueError("no")

    merging.start(fails)
    with pytest.raises(ValueError, match="no"):
        merging.finish()
    merging.start(lambda: done.append("next"))
    merging.finish()
    assert done == ["next"]


def test_in_a_thread_work_goes_on_while_its_owner_does_something_else() -> None:
    merging, read, merged = InThread(), threading.Event(), threading.Event()

    def work() -> None:
        assert read.wait(WAIT_S)
        merged.set()

    merging.start(work)
    assert not merged.is_set()
    read.set()
    assert merged.wait(WAIT_S), "it does not wait for finish()"
    merging.finish()
    merging.close()


def test_closing_waits_for_what_is_being_done() -> None:
    merging, began, free, done = InThread(), threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        assert free.wait(WAIT_S)
        done.set()

    merging.start(work)
    assert began.wait(WAIT_S)
    threading.Timer(0.05, free.set).start()
    merging.close()
    assert done.is_set()
