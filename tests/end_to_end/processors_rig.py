"""Processors as processes of their own, a load that goes to chosen partitions, and what must come of it.

What is expected is told by :mod:`simulation.model` from the log as the broker holds it.
"""

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from penstock.avro import Decoder, Encoder
from penstock.contracts import load_contracts
from penstock.frontier import Frontier
from penstock.metrics import METRICS, Metric, metrics_of
from penstock.schema_ids import schema_ids
from penstock.settings import load_settings, variable
from penstock.topics import BY_NAME, PARTITIONS, SOURCES, TOPICS, group_id
from simulation.model import Entry, Key, Told
from testbed.processes import ChildProcess, free_port, wait_until
from tests.processors.logs import heartbeat, order, reading

ROOT = Path(__file__).parents[2]
PATIENCE_S = 60.0
SESSION_MS = 1_500
EMBEDDED_SESSION_MS = 4_000
"""librdkafka's mock cluster holds a first join back for 3 s, and forgets a member whose session is shorter."""
MINUTE_MS = 60_000
TOTALS = ("order-metrics", "telemetry-metrics")

View = dict[tuple[int, Key], tuple[bool, Mapping[str, Any]]]
"""What a reader keeps: by partition and key, if it is final, and the measures."""


class Processor(ChildProcess):
    """``penstock process``, with its HTTP address."""

    address = ""

    def status(self, path: str) -> int:
        """Return the HTTP status of a page; 0 while nobody listens."""
        try:
            return httpx.get(f"{self.address}/{path}", timeout=5).status_code
        except httpx.HTTPError:
            return 0

    def problems(self, path: str) -> dict[str, str]:
        """Return what a page says is wrong, by part."""
        found: dict[str, str] = httpx.get(f"{self.address}/{path}", timeout=5).json()["problems"]
        return found

    def sum_of(self, metric: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        text = httpx.get(f"{self.address}/metrics", timeout=5).text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return sum(s.value for s in samples if s.name == metric and labels.items() <= s.labels.items())

    def said(self, text: str) -> bool:
        """Say if a text is in its log."""
        return text in self.log.read_text(encoding="utf-8")


class Rig:
    """A pipeline of its own on a broker: topics with a prefix that nobody else has."""

    def __init__(self, bootstrap_servers: str, folder: Path, registry_url: str | None = None, **settings: Any) -> None:
        self.folder = folder
        chosen = {
            "kafka_bootstrap_servers": bootstrap_servers, "embedded": registry_url is None,
            "topic_prefix": f"t{uuid.uuid4().hex[:8]}-", "run_id": uuid.uuid4().hex, "fetch_batch_records": 250,
            "commit_interval_s": 0.2, "early_results_interval_s": 0.1,
            "session_timeout_ms": SESSION_MS if registry_url else EMBEDDED_SESSION_MS,
        } | ({"schema_registry_url": registry_url} if registry_url else {}) | settings  # fmt: skip
        self.settings = load_settings(**chosen)
        self.env = os.environ | {variable(name): str(value) for name, value in chosen.items()}
        self.known: dict[bytes, tuple[str, Mapping[str, Any]]] = {}
        self.random = random.Random(folder.name)
        self.clock_ms = int(time.time() * 1_000) // MINUTE_MS * MINUTE_MS - 60 * MINUTE_MS
        self._encoders: dict[str, Encoder] = {}
        self._recent: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self._producer = Producer({"bootstrap.servers": bootstrap_servers, "linger.ms": 5, "enable.idempotence": True})
        self._started: list[Processor] = []
        # One that only looks: it never joins the group whose commits it reads.
        group = group_id(self.settings, "processors")
        self._looker = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
            }
        )
        if self.settings.embedded:
            for topic in TOPICS:  # the embedded broker makes a topic when it is asked for it
                self._producer.list_topics(topic.full_name(self.settings), timeout=10)

    # Processes

    def penstock(self, *words: str) -> None:
        """Run a one-shot command, which must succeed."""
        command = [sys.executable, "-m", "penstock", *words]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=90, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, failpoints: str = "", *, first: str = "", **env: str) -> Processor:
        """Start a processor, which runs the Python code ``first`` before; it is killed at the end of the test."""
        port = free_port()
        name = f"processor-{len(self._started)}"
        more = {"PENSTOCK_FAILPOINTS": failpoints, "PENSTOCK_HTTP_PORT": str(port)}
        main = "from penstock.cli import main; main()"
        command = [sys.executable, *(("-c", f"{first}; {main}") if first else ("-m", "penstock")), "process"]
        processor = Processor(name, command, self.folder / f"{name}.log", env=self.env | more | env, cwd=ROOT)
        processor.address = f"http://127.0.0.1:{port}"
        self._started.append(processor)
        processor.start()
        return processor

    def close(self) -> None:
        """Kill what still runs."""
        for processor in self._started:
            processor.kill()
        self._looker.close()

    # The load

    def load(self, count: int, partitions: Sequence[int] = range(PARTITIONS), poison: bool = True) -> None:
        """Send ``count`` records to each of the partitions of orders, and a few to telemetry: in disorder, with copies,
        late ones and poison; time goes on by half a minute."""
        for number in range(count):
            at = self.clock_ms + number * MINUTE_MS // 2 // count
            for partition in partitions:
                value = self._order(partition, at, poison=poison)
                self.send("orders", partition, value)
                if number % 4 == 0:
                    late = self.random.choice((0, 0, 0, 4_000, 5 * MINUTE_MS))
                    event = reading("ReadingTaken", self.random.getrandbits(100), at - late, self.random.randrange(99))
                    self.send("telemetry", partition, self.encode("telemetry", "ReadingTaken", event))
        self.clock_ms += MINUTE_MS // 2
        self._producer.flush()

    def _order(self, partition: int, at: int, *, poison: bool) -> bytes:
        kind = self.random.random()
        recent = self._recent[partition]
        if kind < 0.05 and recent:
            return self.random.choice(recent)
        if kind < 0.06 and poison:
            return self.random.choice((b"", b"junk", recent[-1][:-2] if recent else b"\0"))
        late = 5 * MINUTE_MS if kind < 0.08 else self.random.randrange(9_000)
        record = self.random.choice(("OrderPlaced", "OrderPlaced", "OrderCancelled", "OrderPaid"))
        event = order(record, self.random.getrandbits(100), at - late, self.random.randrange(10**6))
        value = self.encode("orders", record, event)
        recent[:] = [*recent[-200:], value]
        return value

    def close_panes(
        self, topics: Sequence[str] = ("orders", "telemetry"), partitions: Sequence[int] = range(PARTITIONS)
    ) -> None:
        """Send a heartbeat to each of these partitions that makes all panes final."""
        beat = heartbeat(self.random.getrandbits(100), self.clock_ms + 10 * MINUTE_MS)
        for topic in topics:
            for partition in partitions:
                self.send(topic, partition, self.encode(topic, "Heartbeat", beat))
        self._producer.flush()

    def encode(self, topic: str, record: str, event: Mapping[str, Any]) -> bytes:
        """Return an event's bytes, and remember what they say."""
        name = f"{topic}/{record}"
        if name not in self._encoders:
            contract = load_contracts()[record]
            self._encoders[name] = Encoder(contract, schema_ids(self.settings).id_of(contract, BY_NAME[topic]))
        value = self._encoders[name].encode(event)
        self.known[value] = (record, event)
        return value

    def send(self, topic: str, partition: int, value: bytes) -> None:
        """Send a record, in the producer's own time."""
        self._producer.produce(BY_NAME[topic].full_name(self.settings), value, b"key", partition=partition)

    # What came of it

    def read(self, topic: str) -> list[Message]:
        """Return all records of a topic, as of now."""
        name = BY_NAME[topic].full_name(self.settings)
        spans = {partition: self._span(name, partition) for partition in range(PARTITIONS)}
        reached = {partition: low for partition, (low, end) in spans.items() if end > low}
        self._looker.assign([TopicPartition(name, partition, offset) for partition, offset in reached.items()])
        messages: list[Message] = []
        deadline = time.monotonic() + PATIENCE_S
        while any(offset < spans[partition][1] for partition, offset in reached.items()):
            assert time.monotonic() < deadline, f"{topic}: read to {reached} of {spans}"
            for message in self._looker.consume(1_000, 0.1):
                assert message.error() is None, message.error()
                messages.append(message)
                reached[message.partition()] = message.offset() + 1
        self._looker.unassign()
        return messages

    def _span(self, full_name: str, partition: int) -> tuple[int, int]:
        low, end = self._looker.get_watermark_offsets(TopicPartition(full_name, partition), timeout=10)
        return low, end

    def told(self) -> dict[tuple[str, int], Told]:
        """Return what must become of each source partition's log."""
        logs: dict[tuple[str, int], list[Entry]] = {(t.name, p): [] for t in SOURCES for p in range(PARTITIONS)}
        for topic in SOURCES:
            for message in self.read(topic.name):
                value = message.value() or b""
                record, event = self.known.get(value, ("?", None))
                partition = logs[topic.name, message.partition()]
                partition.append(Entry(message.offset(), message.timestamp()[1], record, event, value))
        return {tp: Told(sorted(log, key=lambda entry: entry.offset)) for tp, log in logs.items()}

    def frontiers(self) -> dict[tuple[str, int], tuple[int, Frontier]]:
        """Return what the processors' group has committed."""
        names = {topic.full_name(self.settings): topic.name for topic in SOURCES}
        wanted = [TopicPartition(name, partition) for name in names for partition in range(PARTITIONS)]
        found = self._looker.committed(wanted, timeout=10)
        return {
            (names[tp.topic], tp.partition): (tp.offset, Frontier.decode(tp.metadata)) for tp in found if tp.offset >= 0
        }

    def settled(self) -> bool:
        """Say if the committed frontiers have reached the ends of the logs."""
        frontiers = self.frontiers()
        for topic in SOURCES:
            for partition in range(PARTITIONS):
                _, end = self._span(topic.full_name(self.settings), partition)
                found = frontiers.get((topic.name, partition))
                if end > 0 and (found is None or found[1].position < end):
                    return False
        return True

    def view(self) -> View:
        """Return what a reader of the results keeps: by key the row with the largest (final, next_offset)."""
        kept: dict[bytes, tuple[bool, int, Metric, Mapping[str, Any]]] = {}
        for topic in TOTALS:
            for name in (topic, f"{topic}-final"):
                for key, metric, row in self._results(name):
                    version = (row["final"], row["next_offset"])
                    if key not in kept or version >= kept[key][:2]:
                        kept[key] = (*version, metric, row)
        return {_identity(metric, row): (final, _measures(metric, row)) for final, _, metric, row in kept.values()}

    def _results(self, topic: str) -> Iterator[tuple[bytes, Metric, Mapping[str, Any]]]:
        messages = self.read(topic)
        reader = Decoder(BY_NAME[topic], load_contracts(), schema_ids(self.settings), 1_000_000)
        decoded = reader.decode([message.value() for message in messages])
        assert decoded.rejections == []
        by_name = {metric.name: metric for metric in METRICS}
        for frame in decoded.records.values():
            for row in frame.iter_rows(named=True):
                key = messages[row["_index"]].key() or b""
                yield key, by_name[key.split(b"|")[0].decode()], row

    def check(self) -> None:
        """Assert that frontiers, results, late events and dead letters are what the logs say: to the last bit."""
        told = self.told()
        for tp, (offset, frontier) in self.frontiers().items():
            assert frontier.imbalance == 0
            assert offset == told[tp].restart_offset(frontier.position)
            counts = told[tp].counts_at(frontier.position)
            assert {fate: n for fate, n in vars(frontier.fates).items() if n} == {f: n for f, n in counts.items() if n}
        expected = _expected(told)
        wait_until(lambda: self.view() == expected or None, 10, "the results that the logs say")
        for topic, fate in (("late-events", "late"), ("dead-letters", "dead")):
            keys = {(message.key() or b"").decode().split("|", 1)[1] for message in self.read(topic)}
            offsets = {f"{tp[1]}|{offset}" for tp, one in told.items() for offset in one.offsets(fate)}
            assert keys == offsets, topic


def _expected(told: Mapping[tuple[str, int], Told]) -> View:
    view: View = {}
    for (topic, partition), one in told.items():
        end = one.entries[-1].offset + 1 if one.entries else 0
        for key, row in one.rows_at(metrics_of(topic), end).items():
            view[partition, key] = (one.is_closed(key[1], end), row)
    return view


def _identity(metric: Metric, row: Mapping[str, Any]) -> tuple[int, Key]:
    return row["source_partition"], (metric.name, row["pane_start"], *(row[name] for name in metric.group))


_ORIGIN = {"_index", "pane_start", "source_topic_id", "source_partition", "next_offset", "final"}


def _measures(metric: Metric, row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in _ORIGIN and name not in metric.group}


def run_until(
    condition: Callable[[], object], work: Callable[[], None], what: str, timeout: float = PATIENCE_S
) -> None:
    """Do ``work`` about three times a second until the condition holds."""

    def worked() -> bool:
        work()
        return bool(condition())

    wait_until(worked, timeout, what, every=0.3)
