"""A whole pipeline's outcome without a pipeline: events on an embedded broker, commits, and views filled by the model.

Nothing of the processors runs here, and of the consumers only the making of tables: what `verify` judges is told by
plain Python, row by row.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from consumers.stores import Transaction, open_store
from consumers.tables import prepare
from consumers.view_files import load_views
from penstock.frontier import Fates, Frontier
from penstock.kafka import partition_counts
from penstock.metrics import metrics_of
from penstock.pipeline import fingerprint
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME, TOPICS, group_id
from penstock.waiting import wait_for
from simulation.model import AHEAD_MS, PANE_MS, Entry, Told
from tests.processors.logs import APPENDED_MS, FIRST_PANE, entry, heartbeat, order, reading
from tests.referee.worlds import ENTITIES, entity_rows, start_of, watermark_before

MAKE = {
    "orders": (order, ("OrderPlaced", "OrderPlaced", "OrderPaid", "OrderShipped", "OrderCancelled")),
    "telemetry": (reading, ("ReadingTaken", "ReadingTaken", "DeviceConnected", "BatteryLow")),
}
TOLD_LATER = 15
"""Entries at the end of a partition's log that its processor has folded but not yet committed."""


@contextmanager
def embedded_broker() -> Iterator[str]:
    """Run librdkafka's mock cluster while the block runs; yield its address."""
    keeper = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1})
    (broker,) = keeper.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del keeper


def log_of(topic: str, seed: int, count: int) -> list[Entry]:
    """Return a log with all fates: copies, late events, heartbeats, events ahead of time and junk among the good."""
    chance = random.Random(seed)
    make, records = MAKE[topic]
    entries: list[Entry] = []
    for offset in range(count):
        now = FIRST_PANE + offset * 2_000 + chance.randrange(8_000)
        kind = chance.choices(("event", "copy", "late", "heartbeat", "ahead", "junk"), (80, 8, 4, 3, 3, 3))[0]
        number = seed * 1_000_000 + offset
        event = make(chance.choice(records), number, now - (180_000 if kind == "late" else 0), chance.randrange(50))
        record = _record_of(event)
        if kind == "copy" and offset > 10:
            twin = entries[offset - chance.randrange(1, 8)]
            entries.append(Entry(offset, twin.appended_ms, twin.record, twin.event, twin.value))
        elif kind == "junk":
            entries.append(Entry(offset, APPENDED_MS, "?", None, b"junk %d" % offset))
        elif kind == "heartbeat":
            entries.append(entry(topic, "Heartbeat", heartbeat(number, now), offset))
        else:
            appended_ms = event["occurred_at"] - AHEAD_MS - 1 if kind == "ahead" else APPENDED_MS
            entries.append(entry(topic, record, event, offset, appended_ms))
    return entries


def _record_of(event: Mapping[str, Any]) -> str:
    marks = {
        "customer_id": "OrderPlaced", "reason": "OrderCancelled", "method": "OrderPaid", "carrier": "OrderShipped",
        "sensor": "ReadingTaken", "firmware": "DeviceConnected", "charge_percent": "BatteryLow",
    }  # fmt: skip
    return next(record for mark, record in marks.items() if mark in event)


def closing(topic: str, entries: Sequence[Entry]) -> list[Entry]:
    """Return a log with a heartbeat at its end that closes all panes."""
    last = FIRST_PANE + len(entries) * 2_000 + 2 * PANE_MS
    return [*entries, entry(topic, "Heartbeat", heartbeat(9, last), len(entries))]


@dataclass(frozen=True)
class Partition:
    """One source partition: what is in its log, and up to where its processor has committed."""

    topic: str
    number: int
    told: Told
    position: int

    @property
    def end(self) -> int:
        """The log's end."""
        return len(self.told.entries)


def partitions() -> list[Partition]:
    """Return two partitions of each source topic: one with all panes closed, one in the middle of its life."""
    found = []
    for topic in MAKE:
        done = Told(closing(topic, log_of(topic, 1, 150)))
        found.append(Partition(topic, 0, done, len(done.entries)))
        busy = Told(log_of(topic, 2, 150))
        found.append(Partition(topic, 1, busy, len(busy.entries) - TOLD_LATER))
    return found


def settings_of(bootstrap: str, database_url: str, **more: Any) -> Settings:
    """Return settings for an embedded broker."""
    return load_settings(kafka_bootstrap_servers=bootstrap, embedded=True, database_url=database_url, **more)


def produce(settings: Settings, parts: Sequence[Partition]) -> None:
    """Put the logs on the broker, each record with its append time."""
    in_order = {"enable.idempotence": True}  # also when it tries again
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, **in_order})
    wait_for("topics", lambda: partition_counts(producer, settings, TOPICS), timeout_s=10)
    for part in parts:
        name = BY_NAME[part.topic].full_name(settings)
        for item in part.told.entries:
            producer.produce(name, item.value, key=b"key", partition=part.number, timestamp=item.appended_ms)
    assert producer.flush(30) == 0


def frontier_of(settings: Settings, part: Partition, **changed: Any) -> Frontier:
    """Return what the processor of a partition would have committed."""
    told, position = part.told, part.position
    fates = Fates(**told.counts_at(position))
    right: dict[str, Any] = {
        "topic_id": f"{settings.run_id}:{part.topic}", "start": start_of(told.entries), "position": position,
        "newest_ms": told.newest_at(position), "fingerprint": fingerprint(), "fates": fates,
    }  # fmt: skip
    return Frontier(**(right | changed))


def commit(settings: Settings, part: Partition, frontier: Frontier) -> None:
    """Commit a frontier for the processors."""
    group = group_id(settings, "processors")
    consumer = Consumer({"bootstrap.servers": settings.kafka_bootstrap_servers, "group.id": group})
    name = BY_NAME[part.topic].full_name(settings)
    restart = part.told.restart_offset(part.position)
    consumer.commit(offsets=[TopicPartition(name, part.number, restart, frontier.encode())], asynchronous=False)
    consumer.close()


def fill_views(settings: Settings, parts: Sequence[Partition]) -> None:
    """Make the views' tables and put in what the model says."""
    store = open_store(settings)
    prepare(store, load_views().values(), settings.pipeline_version)
    with store.transaction() as transaction:
        for part in parts:
            _fill_metrics(transaction, part)
            _fill_letters(transaction, settings, part)
            view = "orders" if part.topic == "orders" else "devices"
            row = {"view": view, "version": 1, "topic": part.topic, "partition": part.number, "next": part.end}
            insert(transaction, "offsets", row | {"topic_id": f"{settings.run_id}:{part.topic}"})
        for table, (topic, key, _) in ENTITIES.items():
            logs = [part.told for part in parts if part.topic == topic]
            for values, row in entity_rows(table, logs).items():
                insert(transaction, f"{table}_v1", dict(zip(key, values, strict=True)) | row)
    store.close()


def _fill_metrics(transaction: Transaction, part: Partition) -> None:
    """Put in final rows as of ``P``, and early ones of the open panes as of some offset around ``P``."""
    told, chance = part.told, random.Random(part.number)
    for metric in metrics_of(part.topic):
        final = told.rows_at([metric], part.position)
        for key in told.rows_at([metric], part.end):
            closed = told.is_closed(key[1], part.position)
            seen_at = part.position if closed else chance.randrange(part.position - 10, part.end + 1)
            row = final[key] if closed else told.rows_at([metric], seen_at).get(key)
            if row is not None:
                place = {"window_start": key[1], "source_partition": part.number}
                group = dict(zip(metric.group, key[2:], strict=True))
                counts = metric.result == "PaneCounted"
                table, more = ("pane_counts", {"source_topic": part.topic}) if counts else (metric.name, {})
                state = {"final": int(closed or told.is_closed(key[1], seen_at)), "next_offset": seen_at}
                insert(transaction, f"{table}_v1", {**place, **group, **more, **state, **row})


def _fill_letters(transaction: Transaction, settings: Settings, part: Partition) -> None:
    """Put in the letters of the whole log: those behind ``P`` are sent, if not yet committed."""
    told = part.told
    for item in told.entries:
        fate = told.fates[item.offset]
        row: dict[str, Any] = {
            "source_topic_id": f"{settings.run_id}:{part.topic}", "source_partition": part.number,
            "source_offset": item.offset, "source_topic": part.topic, "appended_at": item.appended_ms,
            "key": b"key", "value": item.value,
        }  # fmt: skip
        if fate == "dead":
            reason = "ahead-of-time" if item.event else "not-avro"
            insert(transaction, "dead_letters_v1", row | {"reason": reason, "detail": "for people"})
        elif fate == "late":
            assert item.event is not None
            row |= {"event_id": item.event["event_id"], "occurred_at": item.event["occurred_at"]}
            insert(transaction, "late_events_v1", row | {"watermark": watermark_before(told, item.offset)})


def insert(transaction: Transaction, table: str, row: Mapping[str, Any]) -> None:
    """Put in one row."""
    transaction.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(f':{name}' for name in row)})", row)
