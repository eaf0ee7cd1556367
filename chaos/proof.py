"""The proof at a scenario's end, in numbers: what was acknowledged, what the log holds, the books, the views."""

from __future__ import annotations

import json
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from confluent_kafka import Consumer, TopicPartition

from chaos.watch import Place
from penstock.frontier import Fates, Frontier
from testbed.pipeline import Pipeline

FATES = ("applied", "duplicate", "late", "dead", "control")
ACKS = {"topic": pl.String, "partition": pl.Int64, "offset": pl.Int64, "crc": pl.Int64, "fate": pl.String}
RECORDS = {name: kind for name, kind in ACKS.items() if name != "fate"}
IDLE_TIMEOUT_S = 20.0
BATCH = 10_000
CONSUME_S = 0.3
"""How long a batch that does not fill is waited for."""


@dataclass
class Truth:
    """What producers know of their acknowledged records, by topic (full name) and fate.

    ``exact``: each of them lived to tell all, so the log holds no more than this.
    """

    fates: dict[str, Counter[str]] = field(default_factory=dict)
    exact: bool = True

    def add(self, topic: str, fates: Mapping[str, int]) -> None:
        """Add acknowledged records."""
        self.fates.setdefault(topic, Counter()).update(fates)

    @property
    def acknowledged(self) -> int:
        """All records."""
        return sum(fates.total() for fates in self.fates.values())


def read_acks(files: Iterable[Path]) -> pl.DataFrame:
    """Return the acknowledgements of loaders; a last line that a kill cut off does not count."""
    frames = [pl.DataFrame(schema=ACKS)]
    for file in files:
        whole = file.read_bytes()
        whole = whole[: whole.rfind(b"\n") + 1]
        if whole:
            frames.append(pl.read_csv(whole, has_header=False, schema=ACKS))
    return pl.concat(frames)


def read_log(bootstrap_servers: str, ends: Mapping[Place, int]) -> pl.DataFrame:
    """Return topic, partition, offset and CRC of each record of the logs up to ``ends``. TimeoutError if it stalls."""
    config = {"bootstrap.servers": bootstrap_servers, "group.id": "chaos-reader", "enable.auto.commit": False}
    looker = Consumer(config | {"auto.offset.reset": "earliest", "log_level": 0, "enable.partition.eof": False})
    left = {place: end for place, end in ends.items() if end > 0}
    frames = [pl.DataFrame(schema=RECORDS)]
    try:
        starts = {place: looker.get_watermark_offsets(TopicPartition(*place), timeout=10.0)[0] for place in left}
        left = {place: end for place, end in left.items() if starts[place] < end}
        looker.assign([TopicPartition(*place, starts[place]) for place in left])
        moved_at = time.monotonic()
        while left:
            messages = looker.consume(BATCH, timeout=CONSUME_S)
            if messages:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > IDLE_TIMEOUT_S:
                raise TimeoutError(f"the log of {sorted(left)} can't be read to its end")
            rows = [_row(message) for message in messages if message.error() is None]
            frames.append(pl.DataFrame(rows, schema=RECORDS, orient="row"))
            for topic, partition, offset, _ in rows:
                if offset + 1 >= left.get((topic, partition), offset + 2):
                    del left[topic, partition]
    finally:
        looker.close()
    return pl.concat(frames)


def _row(message: Any) -> tuple[str, int, int, int]:
    return message.topic(), message.partition(), message.offset(), zlib.crc32(message.value() or b"")


@dataclass(frozen=True)
class Findings:
    """Numbers to hold against each other. All 0 is the proof; ``lost`` and ``doubled`` sum up the events concerned."""

    missing: int
    """Acknowledged records that the log does not hold at their offsets, byte for byte."""
    unsettled: int
    """Acknowledged records at or past the frontier."""
    unknown: int
    """Records of the log that nobody was told to be there; counts only where the truth is exact."""
    too_few: dict[str, int]
    """By topic and fate: how many fewer the books, or the views, hold than were acknowledged, or settled."""
    too_many: dict[str, int]

    @property
    def lost(self) -> int:
        """Events that were acknowledged and are not counted."""
        return self.missing + self.unsettled + sum(self.too_few.values())

    @property
    def doubled(self) -> int:
        """Events that are counted and should not be."""
        return self.unknown + sum(self.too_many.values())


def compare(
    truth: Truth,
    acks: pl.DataFrame,
    log: pl.DataFrame,
    frontiers: Mapping[Place, Frontier],
    views: Mapping[str, Mapping[str, int]],
    *,
    by_fate: bool = True,
) -> Findings:
    """Hold the producers' truth, the log, the books and the views (counts of fates by topic) against each other.

    ``by_fate``: it is certain which fate each record must have.
    """
    keys = ["topic", "partition", "offset", "crc"]
    missing = acks.join(log, on=keys, how="anti")
    positions = pl.DataFrame(
        [(*place, frontier.position) for place, frontier in frontiers.items()],
        schema={"topic": pl.String, "partition": pl.Int64, "position": pl.Int64},
        orient="row",
    )
    settled = acks.join(positions, on=["topic", "partition"], how="left")
    unsettled = settled.filter(pl.col("offset") >= pl.col("position").fill_null(0)).height
    unknown = max(0, log.height - truth.acknowledged) if truth.exact else 0
    too_few: Counter[str] = Counter()
    too_many: Counter[str] = Counter()
    for topic, told in truth.fates.items() if by_fate else ():
        books = booked(frontiers, topic)
        for fate in FATES:
            less = told[fate] - books[fate]
            too_few[f"books {topic} {fate}"] += max(0, less)
            too_many[f"books {topic} {fate}"] += max(0, -less) if truth.exact else 0
    for topic, shown in views.items():
        books = booked(frontiers, topic)
        for fate, count in shown.items():
            too_few[f"views {topic} {fate}"] += max(0, books[fate] - count)
            too_many[f"views {topic} {fate}"] += max(0, count - books[fate])
    return Findings(missing.height, unsettled, unknown, dict(+too_few), dict(+too_many))


def booked(frontiers: Mapping[Place, Frontier], topic: str) -> dict[str, int]:
    """Return the books of a topic by fate, over its partitions."""
    total = sum((f.fates for (name, _), f in frontiers.items() if name == topic), Fates())
    return {fate: getattr(total, fate) for fate in FATES}


def shown(pipeline: Pipeline, topic: str) -> dict[str, int]:
    """Return what the views hold of a source topic (logical name) by fate."""
    full_name = pipeline.prefix + topic
    applied = f"SELECT coalesce(sum(applied), 0) FROM pane_counts WHERE source_topic = '{topic}'"
    letters = "SELECT count(*) FROM {} WHERE source_topic IN ('" + f"{topic}', '{full_name}')"
    queries = {"applied": applied, "late": letters.format("late_events"), "dead": letters.format("dead_letters")}
    return {fate: int(pipeline.row(query)[0]) for fate, query in queries.items()}


def read_truth(file: Path) -> dict[str, Any]:
    """Return the truth that a run of ``penstock produce`` has written."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


