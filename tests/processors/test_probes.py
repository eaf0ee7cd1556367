"""Freshness probes in the processors: control records that are passed on behind the results of what came before."""

import asyncio

import pytest

from simulation.model import Entry
from tests.processors.fakes import TOPIC_ID, Stand, batch
from tests.processors.logs import APPENDED_MS, FIRST_PANE, entry
from tests.processors.test_worker import decoded, placed, run


def probe(offset: int, sent_at: int | None, at: int = 0) -> Entry:
    fields = {"event_id": f"00000000-0000-4000-a000-{offset:012}", "occurred_at": FIRST_PANE + at, "source": "test"}
    return entry("orders", "Heartbeat", {**fields, "sent_at": sent_at}, offset)


def passed(stand: Stand) -> list[dict[str, object]]:
    return decoded("freshness", stand.sender.to("freshness.v1"), "ProbePassed")


@pytest.fixture
def stand() -> Stand:
    made = Stand()
    made.begin()
    return made


def test_the_newest_probe_follows_the_results_of_what_came_before_it(stand: Stand) -> None:
    run(stand, [placed(0, 0), probe(1, APPENDED_MS - 9), probe(2, APPENDED_MS - 5), placed(3, 1)])
    assert stand.sender.sent == []
    stand.worker.send_changed()
    assert passed(stand) == [
        {"source_topic": "orders", "source_topic_id": TOPIC_ID, "source_partition": 2, "next_offset": 4,
         "sent_at": APPENDED_MS - 5}
    ]  # fmt: skip
    topics = [topic for topic, _, _ in stand.sender.sent]
    assert topics.index("freshness.v1") == len(topics) - 1 > 0
    assert stand.sender.sent[-1][1] == b"orders|2"
    stand.sender.sent.clear()
    stand.worker.send_changed()
    assert stand.sender.sent == []


def test_a_probe_is_a_control_record_and_opens_no_pane(stand: Stand) -> None:
    run(stand, [probe(0, APPENDED_MS)])
    ((restart, _),) = stand.worker.commit_points().values()
    assert restart == 1
    assert stand.metric("penstock_books_events", topic="orders", partition="2", fate="control") == 1
    assert stand.metric("penstock_open_panes", topic="orders", partition="2") == 0


def test_an_ordinary_heartbeat_is_no_probe(stand: Stand) -> None:
    run(stand, [probe(0, None)])
    stand.worker.send_changed()
    assert stand.sender.sent == []


def test_a_producer_whose_clock_is_ahead_does_not_make_numbers_look_fresh(stand: Stand) -> None:
    run(stand, [probe(0, APPENDED_MS + 3_600_000)])
    stand.worker.send_changed()
    assert [row["sent_at"] for row in passed(stand)] == [APPENDED_MS]


def test_a_probe_waits_while_catching_up_as_the_results_do() -> None:
    stand = Stand(fetch_batch_records=10)
    stand.begin()
    behind = batch([probe(0, APPENDED_MS)])
    behind.log_end = 12
    asyncio.run(stand.worker.process(behind))
    stand.worker.send_changed()
    assert stand.sender.sent == []
    run(stand, [placed(1, 1)])
    stand.worker.send_changed()
    assert len(passed(stand)) == 1


def test_what_is_folded_again_passes_no_probe_on(stand: Stand) -> None:
    log = [placed(0, 0), probe(1, APPENDED_MS), placed(2, 1)]
    run(stand, log)
    commit = next(iter(stand.worker.commit_points().values()))
    again = Stand()
    again.begin(1, commit)
    run(again, log)
    again.worker.send_changed()
    assert passed(again) == []
