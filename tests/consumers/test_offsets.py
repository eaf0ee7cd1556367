"""Where a view may start, and what stops it."""

import re

import pytest

from consumers.offsets import Place, Stored, start_of
from penstock.errors import ExitCode, ProtectiveStop

PLACE = Place("orders", "orders", 3)


def start(stored: Stored | None, low: int, high: int, *, accept: bool = False) -> int:
    return start_of(PLACE, stored, "now", low, high, accept_trimmed=accept)


def test_a_view_starts_at_its_stored_offset() -> None:
    assert start(Stored("now", 7), 0, 10) == 7
    assert start(Stored("now", 10), 10, 10) == 10


def test_a_new_view_starts_at_the_first_record_ever_written() -> None:
    assert start(None, 0, 10) == 0


@pytest.mark.parametrize(
    ("stored", "low", "high", "says"),
    [
        (Stored("now", 7), 9, 20, "begins at offset 9, the view needs 7: 2 offsets are lost"),
        (None, 4, 20, "begins at offset 4, the view needs 0: 4 offsets are lost"),
        (Stored("now", 21), 0, 20, "up to offset 21, the log ends at 20: the broker lost the last 1"),
        (Stored("before", 7), 0, 20, "recreated: its id is now, the view was built from before"),
    ],
)
def test_lost_input_stops_a_view_and_says_what_was_lost_and_what_decides(
    stored: Stored | None, low: int, high: int, says: str
) -> None:
    with pytest.raises(ProtectiveStop, match=re.escape(says)) as caught:
        start(stored, low, high)
    assert caught.value.exit_code == ExitCode.STOPPED
    assert "view orders, orders[3]" in str(caught.value)
    assert "PENSTOCK_PIPELINE_VERSION" in str(caught.value)


def test_a_trimmed_log_can_be_accepted_and_nothing_else() -> None:
    assert start(Stored("now", 7), 9, 20, accept=True) == 9
    assert start(None, 4, 20, accept=True) == 4
    with pytest.raises(ProtectiveStop):
        start(Stored("now", 21), 0, 20, accept=True)
    with pytest.raises(ProtectiveStop):
        start(Stored("before", 7), 0, 20, accept=True)
