"""`penstock explain` on a real Kafka, which knows offsets by time: it reads what can matter and no more."""

import sqlite3
import uuid
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from penstock.kafka import topic_ids
from penstock.schema_ids import LockedIds
from penstock.settings import Settings, load_settings
from penstock.topics import TOPICS
from referee.explain import explain
from referee.explain_question import question
from referee.explanation import Explanation
from simulation.model import PANE_MS, Told
from tests.processors.logs import FIRST_PANE, entry, heartbeat, order
from tests.referee import stage
from tests.referee.stage import Partition

EVERY_MS = 10_000
DELAY_MS = 1_000
COUNT = 1_080
"""Three hours."""
MIDDLE = FIRST_PANE + 90 * PANE_MS


def told() -> Told:
    """Return a log with an order every ten seconds, appended a second later; two of one pane come late."""
    times = [FIRST_PANE + number * EVERY_MS for number in range(COUNT)]
    entries = []
    for offset, at in enumerate(times):
        late = at in (MIDDLE + 3 * PANE_MS, MIDDLE + 60 * PANE_MS)
        event = order("OrderPlaced", offset, MIDDLE + 5 if late else at, 3 * offset)
        entries.append(entry("orders", "OrderPlaced", event, offset, at + DELAY_MS))
    end = times[-1] + 3 * PANE_MS
    return Told([*entries, entry("orders", "Heartbeat", heartbeat(5, end), COUNT, end)])


@pytest.fixture
def world(bootstrap_servers: str, tmp_path: Path) -> Settings:
    """Topics of one partition, with times of our own, and the views of what is in them."""
    settings = load_settings(
        kafka_bootstrap_servers=bootstrap_servers, embedded=False, topic_prefix=f"explain-{uuid.uuid4().hex[:8]}-",
        database_url=f"sqlite:///{tmp_path / 'views.db'}", schema_registry_url="http://127.0.0.1:1",
    )  # fmt: skip
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    config = {"message.timestamp.type": "CreateTime"}
    made = admin.create_topics([NewTopic(topic.full_name(settings), 1, 1, config=config) for topic in TOPICS])
    for future in made.values():
        future.result(30)
    topic_id = topic_ids(settings, TOPICS)["orders"]
    part = Partition("orders", 0, told(), COUNT + 1)
    stage.produce(settings, [part])
    stage.commit(settings, part, stage.frontier_of(settings, part, topic_id=topic_id))
    stage.fill_views(settings, [part])
    with sqlite3.connect(tmp_path / "views.db") as database:
        for table, column in (("offsets", "topic_id"), ("late_events_v1", "source_topic_id")):
            database.execute(f"UPDATE {table} SET {column} = ?", (topic_id,))
    database.close()
    return settings


def asked(settings: Settings, view: str, window: int | None, *pairs: str) -> Explanation:
    """Explain a row."""
    return explain(settings, LockedIds(), question(view, pairs, None if window is None else str(window)), 20.0)


def test_a_window_is_found_by_time_and_events_that_came_late_by_their_letters(world: Settings) -> None:
    found = asked(world, "pane_counts", MIDDLE, "source_topic=orders", "source_partition=0")
    assert found.equal
    fates = dict(found.events.group_by("fate").len().iter_rows())
    assert fates == {"applied": 6, "late": 2}
    # 5 minutes before the pane, the pane, 10 s of disorder, and a few seconds.
    assert 36 < found.records_read <= 50
    assert found.records_there == COUNT + 1
    (read,) = found.reads
    offsets = found.events.filter(found.events["fate"] == "late")["offset"].to_list()
    assert all(offset >= read.end for offset in offsets)


def test_a_late_event_is_proved_from_where_the_newest_time_can_have_been_raised(world: Settings) -> None:
    found = asked(world, "pane_counts", MIDDLE, "source_topic=orders", "source_partition=0")
    for offset in found.events.filter(found.events["fate"] == "late")["offset"]:
        letter = asked(world, "late_events", None, "topic=orders", "partition=0", f"offset={offset}")
        assert letter.equal, letter.lines
        assert 30 <= letter.records_read <= 40


def test_a_window_before_the_log_began_and_one_behind_its_end_read_little(world: Settings) -> None:
    day = asked(world, "pane_counts", FIRST_PANE, "source_topic=orders", "source_partition=0")
    assert day.equal
    assert day.records_read <= 10
    last = FIRST_PANE + (COUNT - 1) * EVERY_MS
    end = asked(world, "pane_counts", last, "source_topic=orders", "source_partition=0")
    assert end.equal
    assert end.records_read <= 40


def test_what_a_trimmed_log_can_no_longer_show_is_said(world: Settings) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka_bootstrap_servers})
    name = f"{world.topic_prefix}orders"
    begin = 90 * 6 + 2
    admin.delete_records([TopicPartition(name, 0, begin)])[TopicPartition(name, 0, begin)].result(30)
    torn = asked(world, "pane_counts", MIDDLE, "source_topic=orders", "source_partition=0")
    assert not torn.equal
    assert any("the log begins at offset 542" in note for note in torn.notes)
    whole = asked(world, "pane_counts", MIDDLE + 8 * PANE_MS, "source_topic=orders", "source_partition=0")
    assert whole.equal
    assert whole.notes == []


@pytest.mark.parametrize("watermark", [1, FIRST_PANE, MIDDLE + 2 * PANE_MS, 1 << 50])
def test_a_letter_whose_watermark_is_wrong_is_told_the_right_one(world: Settings, watermark: int) -> None:
    with sqlite3.connect(world.database_url.get_secret_value().removeprefix("sqlite:///")) as database:
        offset, right = database.execute("SELECT source_offset, watermark FROM late_events_v1 LIMIT 1").fetchone()
        database.execute("UPDATE late_events_v1 SET watermark = ? WHERE source_offset = ?", (watermark, offset))
    database.close()
    letter = asked(world, "late_events", None, "topic=orders", "partition=0", f"offset={offset}")
    assert [(line.column, line.by_log, line.in_view) for line in letter.lines if not line.equal] == [
        ("watermark", right, watermark)
    ]
