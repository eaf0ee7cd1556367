"""The frontier goes through commit metadata unharmed; anything else there stops the pipeline."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtectiveStop
from penstock.frontier import MAX_METADATA_BYTES, Fates, Frontier

COUNTS = st.integers(0, 2**62)
FATES = st.builds(Fates, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
WORDS = st.text(max_size=60)
TIMES = st.integers(-(2**62), 2**62)
FRONTIERS = st.builds(Frontier, WORDS, COUNTS, COUNTS, TIMES, WORDS, FATES)
GARBAGE = st.sampled_from(["", "\0", "}", '{"start": 9}', "\0\0old metadata", "é", "]]]]", " null"])


@given(frontier=FRONTIERS, behind=GARBAGE)
def test_a_frontier_comes_back_as_it_was_whatever_stands_behind_it(frontier: Frontier, behind: str) -> None:
    assert Frontier.decode(frontier.encode() + behind) == frontier


@given(FRONTIERS)
def test_metadata_is_plain_text_that_kafka_takes(frontier: Frontier) -> None:
    encoded = frontier.encode()
    assert encoded.isascii()
    assert len(encoded) < MAX_METADATA_BYTES


@pytest.mark.parametrize(
    "metadata",
    ["", " ", "\0", "None", "null", "7", "[]", "{}", '"text"', "aiokafka", '{"topic_id": "x"}', "{" * 50],
)
def test_metadata_without_a_frontier_stops_and_says_what_to_do(metadata: str) -> None:
    with pytest.raises(ProtectiveStop, match="PENSTOCK_PIPELINE_VERSION"):
        Frontier.decode(metadata)


def test_a_frontier_with_a_part_missing_or_unknown_stops() -> None:
    whole = json.loads(Frontier("id", 0, 10, 5, "f", Fates(10)).encode())
    for broken in ({**whole, "extra": 1}, {k: v for k, v in whole.items() if k != "position"}):
        with pytest.raises(ProtectiveStop):
            Frontier.decode(json.dumps(broken))


@given(FATES, FATES)
def test_fates_add_one_by_one(first: Fates, second: Fates) -> None:
    both = first + second
    assert both == second + first
    assert both.total == first.total + second.total
    assert both.late == first.late + second.late


def test_the_imbalance_is_what_was_passed_without_a_fate() -> None:
    fates = Fates(applied=5, duplicate=1, late=1, dead=2, control=1)
    assert Frontier("id", 100, 110, 0, "f", fates).imbalance == 0
    assert Frontier("id", 100, 112, 0, "f", fates).imbalance == 2
