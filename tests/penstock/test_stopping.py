"""Being asked to end."""

import gc
import signal
from collections.abc import Iterator

import pytest

from penstock.stopping import stop_on_signals


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that came to handlers which were there before."""
    heard: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, lambda number, _frame: heard.append(number)) for number in numbers}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_supervisor_may_ask_twice(heard: list[int]) -> None:
    with stop_on_signals() as stopping:
        assert not stopping.is_set()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        assert stopping.is_set()
    assert heard == []


def test_a_second_ctrl_c_acts_as_it_always_does(heard: list[int]) -> None:
    with stop_on_signals() as stopping:
        signal.raise_signal(signal.SIGINT)
        assert stopping.is_set()
        assert heard == []
        signal.raise_signal(signal.SIGINT)
        assert heard == [signal.SIGINT]


def test_a_signal_while_a_finalizer_runs_is_heard(heard: list[int]) -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    with stop_on_signals() as stopping:
        Finalized()
        gc.collect()
        assert stopping.is_set()
    assert heard == []


def test_afterwards_signals_go_where_they_went_before(heard: list[int]) -> None:
    with stop_on_signals() as stopping:
        pass
    signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert heard == [signal.SIGTERM, signal.SIGINT]
    assert not stopping.is_set()
