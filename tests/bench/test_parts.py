"""The parts of a benchmark."""

from collections.abc import Iterator

import pytest

from bench.parts import measure_parts
from testbed.processes import PartError


def fails() -> Iterator[int]:
    yield 3
    raise PartError("the broker did not start\nits log: ...")


def test_a_part_that_fails_is_named_and_costs_neither_the_others_nor_what_it_had_found(
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[int] = []
    found, failures = measure_parts({"one": lambda: [1, 2], "two": fails, "three": lambda: [4]}, told.append)
    assert found == told == [1, 2, 3, 4]
    assert failures == ["two: the broker did not start"]
    assert "its log" in capsys.readouterr().err


def test_what_no_measurement_may_raise_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        measure_parts({"one": lambda: [1 // int("0")]}, lambda _: None)
