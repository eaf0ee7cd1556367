"""Work that is done in threads: a piece ahead, and several jobs at a time."""

import threading
from collections.abc import Iterator

import pytest

from penstock.errors import GaveUpWaiting
from referee.ahead import ahead
from referee.jobs import Jobs

PATIENCE_S = 10.0


def test_the_next_item_is_made_while_one_is_worked_on() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    with ahead(items(), lambda: None) as numbers:
        assert next(numbers) == 0
        assert made[1].wait(PATIENCE_S)
        assert not made[2].is_set()
        assert list(numbers) == [1, 2]


def test_what_the_thread_raises_is_raised_where_its_item_is_asked_for() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("no second item")

    with ahead(items(), lambda: None) as numbers:
        assert next(numbers) == 1
        with pytest.raises(ValueError, match="no second item"):
            next(numbers)


def test_who_leaves_early_has_what_is_being_made_given_up() -> None:
    stopped = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        assert stopped.wait(PATIENCE_S)
        raise ValueError("given up")

    with ahead(items(), stopped.set) as numbers:
        assert next(numbers) == 1
    assert stopped.is_set()


def test_jobs_are_done_at_the_same_time_and_bring_others() -> None:
    both = threading.Barrier(2, timeout=PATIENCE_S)

    def first() -> str:
        both.wait()
        return "first"

    with Jobs[str](2) as jobs:
        jobs.add(first, then=lambda: [lambda: "after the first"])
        jobs.add(first)
        assert sorted(jobs.results()) == ["after the first", "first", "first"]


def test_a_job_that_fails_ends_the_others_before_they_begin() -> None:
    begun = []

    def fails() -> str:
        raise ValueError("it can't be done")

    def later() -> list[str]:
        begun.append("later")
        return begun

    with Jobs[object](1) as jobs:
        jobs.add(fails, then=lambda: [later])
        with pytest.raises(ValueError, match="it can't be done"):
            jobs.results()
    assert begun == []


def test_jobs_that_are_asked_to_end_are_not_waited_for() -> None:
    stopping, left = threading.Event(), threading.Event()

    def long() -> bool:
        stopping.set()
        return left.wait(PATIENCE_S)

    with Jobs[bool](1) as jobs:
        jobs.add(long)
        with pytest.raises(GaveUpWaiting, match="asked to end"):
            jobs.results(stopping)
        left.set()
