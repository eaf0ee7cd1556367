"""The worker: generations, the chain of batches, what is sent, what may be committed, and the end."""

import asyncio
import subprocess
import sys
from collections.abc import Sequence

import pytest

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.errors import ProtectiveStop
from penstock.frontier import Frontier
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from processors.worker import Points
from simulation.model import Entry
from tests.processors.fakes import ORDERS, TOPIC_ID, AwayDecoder, Stand, batch
from tests.processors.logs import APPENDED_MS, FIRST_PANE, entry, order

MINUTE = 60_000


def placed(offset: int, at: int, number: int | None = None) -> Entry:
    event = order("OrderPlaced", offset if number is None else number, FIRST_PANE + at, 5)
    return entry("orders", "OrderPlaced", event, offset)


def junk(offset: int) -> Entry:
    return Entry(offset, APPENDED_MS, "?", None, b"junk")


def run(stand: Stand, *batches: Sequence[Entry], generation: int = 1) -> None:
    async def all_of_them() -> None:
        for entries in batches:
            await stand.worker.process(batch(entries, generation))

    asyncio.run(all_of_them())


def decoded(topic: str, messages: Sequence[tuple[bytes, bytes]], record: str) -> list[dict[str, object]]:
    reader = Decoder(BY_NAME[topic], load_contracts(), LockedIds(), 100_000)
    found = reader.decode([value for _, value in messages])
    assert found.rejections == []
    return found.records[record].drop("_index").to_dicts() if record in found.records else []


@pytest.fixture
def stand() -> Stand:
    made = Stand()
    made.begin()
    return made


def test_a_final_result_says_whose_it_is_and_reads_back_as_it_was(stand: Stand) -> None:
    run(stand, [placed(0, 0), placed(1, 1), placed(2, 2 * MINUTE)])
    sent = dict(stand.sender.to("order-metrics-final.v1"))
    (row,) = decoded("order-metrics-final", list(sent.items()), "OrderMetrics")
    assert row == {
        "pane_start": FIRST_PANE, "source_topic_id": TOPIC_ID, "source_partition": 2, "next_offset": 3, "final": True,
        "country": "É|:", "orders": 2, "revenue_e4": 10, "largest_order_e4": 5, "units": 2, "cancellations": 0,
        "cancelled_e4": 0,
    }  # fmt: skip
    assert set(sent) == {
        f"order_metrics|{FIRST_PANE}|2|4:É|:".encode(),
        f"product_sales|{FIRST_PANE}|2|2:s1".encode(),
        f"order_panes|{FIRST_PANE}|2".encode(),
    }
    assert decoded("order-metrics-final", list(sent.items()), "PaneCounted")[0]["applied"] == 2
    assert stand.sender.to("order-metrics.v1") == []


def test_early_results_are_sent_once_for_what_changed(stand: Stand) -> None:
    run(stand, [placed(0, 0)])
    stand.worker.send_changed()
    (row,) = decoded("order-metrics", stand.sender.to("order-metrics.v1"), "OrderMetrics")
    assert (row["next_offset"], row["final"], row["orders"]) == (1, False, 1)
    stand.sender.sent.clear()
    stand.worker.send_changed()
    assert stand.sender.sent == []


def test_early_results_wait_while_catching_up() -> None:
    stand = Stand(fetch_batch_records=10)
    stand.begin()
    behind = batch([placed(0, 0)])
    behind.log_end = 12
    asyncio.run(stand.worker.process(behind))
    stand.worker.send_changed()
    assert stand.sender.sent == []
    run(stand, [placed(1, 1)])
    stand.worker.send_changed()
    assert len(stand.sender.sent) > 0


def test_after_a_restart_nothing_is_sent_below_p_and_then_what_changed_last_without_a_new_event(stand: Stand) -> None:
    log = [placed(0, 0), placed(1, 1), junk(2), placed(3, 2 * MINUTE), placed(4, 0)]
    run(stand, log)
    commit = stand.worker.commit_points()[ORDERS]
    assert commit[0] == 3

    again = Stand()
    again.begin(1, commit)
    assert again.metric("penstock_refolded_events", topic="orders", partition="2") == 2
    run(again, log[3:4])
    again.worker.send_changed()
    assert again.sender.sent == []
    asyncio.run(again.worker.process(batch(log[4:], follows=4)))
    assert again.sender.sent == []
    assert again.worker.commit_points() == {}
    again.worker.send_changed()
    (row,) = decoded("order-metrics", again.sender.to("order-metrics.v1"), "PaneCounted")
    assert (row["pane_start"], row["next_offset"], row["applied"]) == (FIRST_PANE + 2 * MINUTE, 5, 1)


def test_a_batch_that_spans_p_is_split(stand: Stand) -> None:
    log = [placed(0, 0), placed(1, 1), placed(2, 2)]
    run(stand, log[:2])
    commit = stand.worker.commit_points()[ORDERS]
    again = Stand()
    again.begin(1, commit)
    run(again, log)
    offset, metadata = again.worker.commit_points()[ORDERS]
    frontier = Frontier.decode(metadata)
    assert (offset, frontier.position, frontier.fates.applied, frontier.imbalance) == (0, 3, 3, 0)
    assert again.metric("penstock_events_total", topic="orders", partition="2", fate="applied") == 1


def test_late_events_and_dead_letters_are_kept_whole_under_their_offset(stand: Stand) -> None:
    entries = [placed(0, 2 * MINUTE), placed(7, 0), junk(9)]
    headers = [("trace", b"\xff"), ("none", None)]
    asyncio.run(stand.worker.process(batch(entries, follows=0, its_headers=headers)))
    ((late_key, late_value),) = stand.sender.to("late-events.v1")
    ((dead_key, dead_value),) = stand.sender.to("dead-letters.v1")
    assert (late_key, dead_key) == (b"orders-id|2|7", b"orders-id|2|9")
    (late,) = decoded("late-events", [(late_key, late_value)], "LateEvent")
    (dead,) = decoded("dead-letters", [(dead_key, dead_value)], "DeadLetter")
    for letter, kept in ((late, entries[1]), (dead, entries[2])):
        assert (letter["value"], letter["key"], letter["source_offset"]) == (kept.value, b"key", kept.offset)
        assert (letter["source_topic"], letter["source_partition"], letter["appended_at"]) == ("orders", 2, APPENDED_MS)
    assert late["watermark"] == FIRST_PANE + 2 * MINUTE - 10_000
    assert dead["reason"] == "not-avro"
    assert stand.metric("penstock_books_events", topic="orders", partition="2", fate="control") == 7
    assert stand.metric("penstock_books_imbalance_events", topic="orders", partition="2") == 0
    assert stand.metric("penstock_dead_letters_total", topic="orders", reason="not-avro") == 1


def test_a_batch_of_another_generation_is_dropped_and_changes_nothing(stand: Stand) -> None:
    stand.worker.drop_all()
    run(stand, [placed(0, 0)])
    stand.begin(2)
    run(stand, [placed(0, 0)], generation=1)
    assert (stand.sender.sent, stand.worker.commit_points()) == ([], {})
    run(stand, [placed(0, 0)], generation=2)
    assert list(stand.worker.commit_points()) == [ORDERS]


def test_a_batch_that_does_not_follow_the_one_before_stops(stand: Stand) -> None:
    run(stand, [placed(0, 0)])
    with pytest.raises(ProtectiveStop, match=r"follows offset 2 came when 1 was reached"):
        run(stand, [placed(2, 0)])


def test_a_gap_in_the_offsets_is_no_break_of_the_chain(stand: Stand) -> None:
    run(stand, [placed(0, 0)])
    asyncio.run(stand.worker.process(batch([placed(5, 0)], follows=1)))
    assert stand.metric("penstock_books_events", topic="orders", partition="2", fate="control") == 4


def test_too_many_dead_letters_in_a_row_stop_and_none_of_their_batch_is_sent() -> None:
    stand = Stand(max_dead_letters_in_a_row=5)
    stand.begin()
    run(stand, [placed(0, 0), junk(1), junk(2)], [junk(3), junk(4), placed(5, 0)], [junk(6), junk(7), junk(8)])
    letters = len(stand.sender.to("dead-letters.v1"))
    with pytest.raises(ProtectiveStop, match=r"orders\[2\]: 5 records in a row can't be used.*begins with"):
        run(stand, [junk(9), junk(10), placed(11, 0)])
    assert letters == len(stand.sender.to("dead-letters.v1")) == 7


@pytest.mark.parametrize("revoked", [False, True])
def test_a_batch_waits_for_the_registry_and_counts_only_if_its_partition_is_still_ours(revoked: bool) -> None:
    registry = AwayDecoder()
    stand = Stand(registry)
    stand.begin()

    async def waits() -> None:
        processing = asyncio.create_task(stand.worker.process(batch([placed(0, 0)])))
        await asyncio.to_thread(registry.asked.wait, 10)
        assert not processing.done()
        if revoked:
            stand.worker.drop_all()
            stand.begin(2)
        registry.back.set()
        await processing

    asyncio.run(waits())
    assert list(stand.worker.commit_points()) == ([] if revoked else [ORDERS])
    assert "registry" not in stand.worker.health.ready()


class Committing:
    """What a commit does, in order. Its broker takes it or does not."""

    def __init__(self, stand: Stand, taken: bool = True) -> None:
        self.stand, self.taken = stand, taken
        self.did: list[str] = []
        self.points: Points = {}

    async def flush(self) -> None:
        self.did.append("flush")
        await self.stand.worker.process(batch([placed(1, 1)]))

    async def commit(self, points: Points) -> bool:
        self.did.append("commit")
        self.points = points
        return self.taken

    def run(self) -> bool:
        return asyncio.run(self.stand.worker.commit(self.flush, self.commit))


def test_the_points_of_a_commit_are_taken_before_its_flush_and_committed_after_it(stand: Stand) -> None:
    run(stand, [placed(0, 0)])
    taken = stand.worker.commit_points()
    committing = Committing(stand)
    assert committing.run()
    assert (committing.did, committing.points) == (["flush", "commit"], taken)
    offset, metadata = stand.worker.commit_points()[ORDERS]
    assert (offset, Frontier.decode(metadata).position) == (0, 2)


def test_nothing_is_flushed_or_committed_when_nothing_was_folded(stand: Stand) -> None:
    committing = Committing(stand)
    assert not committing.run()
    assert committing.did == []


def test_a_commit_that_was_taken_is_not_asked_again(stand: Stand) -> None:
    async def flush() -> None:
        """Have nothing in flight."""

    async def refuse(_points: Points) -> bool:
        return False

    async def take(_points: Points) -> bool:
        return True

    run(stand, [placed(0, 0)])
    assert not asyncio.run(stand.worker.commit(flush, refuse))
    assert list(stand.worker.commit_points()) == [ORDERS]
    assert asyncio.run(stand.worker.commit(flush, take))
    assert stand.worker.commit_points() == {}


def test_what_a_partition_showed_is_gone_when_it_is_revoked(stand: Stand) -> None:
    run(stand, [placed(0, 0)])
    assert stand.metric("penstock_open_panes", topic="orders", partition="2") == 1
    stand.worker.drop_all()
    assert stand.metric("penstock_open_panes", topic="orders", partition="2") is None


ENDS = """
from penstock.errors import PenstockError, ProtectiveStop
from penstock.log import configure_logging
from penstock.settings import load_settings
from tests.processors.fakes import Stand
configure_logging(load_settings())
Stand().worker.fail({error})
"""


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        ("ProtectiveStop('an offset is gone')", 4, "an offset is gone"),
        ("PenstockError('refused')", 1, "refused"),
        ("ZeroDivisionError('a bug')", 1, "ZeroDivisionError: a bug"),
    ],
)
def test_a_failure_ends_the_process_with_its_code_and_a_line(error: str, code: int, line: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDS.format(error=error)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == code
    assert line in ended.stderr
