"""Where to begin: what was committed, checked against the log."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import ProtectiveStop
from penstock.frontier import Fates, Frontier
from penstock.pipeline import NO_TIME, fingerprint
from processors.restore import Found, Restored, restore

FRONTIER = Frontier("id", 0, 20, 1_700_000_000_000, fingerprint(), Fates(applied=15, control=5))
FOUND = Found("orders[2]", "id", (10, FRONTIER.encode()), 0, 30)


def stops(found: Found, match: str | None, accept_trimmed_log: bool = False) -> None:
    with pytest.raises(ProtectiveStop, match=match) as caught:
        restore(found, accept_trimmed_log=accept_trimmed_log)
    assert "orders[2]" in str(caught.value) or "metadata" in str(caught.value)
    assert caught.value.exit_code == 4


def test_a_commit_is_gone_on_from() -> None:
    assert restore(FOUND, accept_trimmed_log=False) == Restored(10, FRONTIER)


@pytest.mark.parametrize("flag", [True, False])
def test_without_a_commit_a_whole_log_is_read_from_its_start(flag: bool) -> None:
    restored = restore(replace(FOUND, committed=None), accept_trimmed_log=flag)
    assert restored == Restored(0, Frontier("id", 0, 0, NO_TIME, fingerprint()), skip_torn_panes=False)


def test_without_a_commit_a_trimmed_log_stops_and_names_the_flag() -> None:
    stops(replace(FOUND, committed=None, log_start=5), "begins at 5.*PENSTOCK_ACCEPT_TRIMMED_LOG")


def test_a_trimmed_log_that_is_accepted_skips_the_panes_that_are_torn() -> None:
    restored = restore(replace(FOUND, committed=None, log_start=5), accept_trimmed_log=True)
    assert restored == Restored(5, Frontier("id", 5, 5, NO_TIME, fingerprint()), skip_torn_panes=True)


@pytest.mark.parametrize("flag", [True, False])
def test_a_recreated_topic_stops(flag: bool) -> None:
    stops(replace(FOUND, topic_id="other"), "was recreated.*id id, now it is other.*PENSTOCK_PIPELINE_VERSION", flag)


def test_a_changed_fingerprint_stops_and_names_both() -> None:
    changed = replace(FOUND, committed=(10, replace(FRONTIER, fingerprint="abc").encode()))
    stops(changed, f"{fingerprint()}.*abc.*PENSTOCK_PIPELINE_VERSION")


@pytest.mark.parametrize(
    "found",
    [
        replace(FOUND, log_start=11),
        replace(FOUND, log_end=19),
        replace(FOUND, committed=(21, FRONTIER.encode())),
    ],
    ids=["the log begins behind R", "the log ends before P", "R is behind P"],
)
@pytest.mark.parametrize("flag", [True, False])
def test_offsets_that_are_not_in_the_log_stop_whatever_the_flag(found: Found, flag: bool) -> None:
    stops(found, "input was lost", flag)


def test_the_edges_of_the_log_are_inside() -> None:
    assert restore(replace(FOUND, log_start=10, log_end=20), accept_trimmed_log=False) == Restored(10, FRONTIER)


garbage = st.one_of(
    st.text(),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(list(json.loads(FRONTIER.encode()))), inner),
        max_leaves=8,
    ).map(json.dumps),
    st.tuples(
        st.sampled_from(list(json.loads(FRONTIER.encode()))),
        st.none() | st.text() | st.floats() | st.lists(st.integers()),
    ).map(lambda change: json.dumps(json.loads(FRONTIER.encode()) | {change[0]: change[1]})),
    st.integers(0, len(FRONTIER.encode()) - 1).map(lambda length: FRONTIER.encode()[:length]),
)


@given(metadata=garbage)
def test_a_commit_of_another_program_stops_and_never_crashes(metadata: str) -> None:
    stops(replace(FOUND, committed=(10, metadata)), None)


@given(tail=st.text())
def test_what_the_client_leaves_behind_the_metadata_is_ignored(tail: str) -> None:
    restored = restore(replace(FOUND, committed=(10, FRONTIER.encode() + tail)), accept_trimmed_log=False)
    assert restored.frontier == FRONTIER
