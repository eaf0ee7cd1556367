"""Event ids that stand in two partitions of a topic. A producer that sends an event again, sends it where it was."""

from dataclasses import dataclass, field

import polars as pl

from referee.fates import HEARTBEAT
from referee.spill import Buckets, Spill

EXAMPLES = 10
"""Ids of a topic that are kept in words; all are counted."""

_SCHEMA = {"event_id": pl.String, "partition": pl.Int64, "offset": pl.Int64}


@dataclass(frozen=True)
class SplitIds:
    """How many ids of a topic stand in more than one partition; of the first the places: ``orders/0@12``."""

    count: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)


class IdsByPartition:
    """The ids of all usable events of one topic, in buckets on disk."""

    def __init__(self, topic: str, buckets: Buckets) -> None:
        self._topic = topic
        self._ids = Spill(buckets, f"ids-{topic}", _SCHEMA, "event_id")

    def add(self, spine: pl.DataFrame, partition: int) -> None:
        """Take the events of a piece of the log; heartbeats and records that can't be used have no part in it."""
        usable = pl.col("reason").is_null() & (pl.col("kind") != HEARTBEAT)
        self._ids.add(spine.filter(usable).select("event_id", pl.lit(partition, pl.Int64).alias("partition"), "offset"))

    def split(self) -> SplitIds:
        """Return the ids that stand in more than one partition."""
        count, examples = 0, dict[str, list[str]]()
        for number in range(self._ids.buckets):
            rows = self._ids.bucket(number)
            twice = rows.filter(pl.col("event_id").is_duplicated())
            partitions = twice.group_by("event_id").agg(pl.col("partition").n_unique())
            found = partitions.filter(pl.col("partition") > 1).sort("event_id")["event_id"]
            count += len(found)
            for event_id in found.head(EXAMPLES - len(examples)):
                places = twice.filter(pl.col("event_id") == event_id).select("partition", "offset")
                examples[event_id] = [f"{self._topic}/{partition}@{offset}" for partition, offset in places.iter_rows()]
        self._ids.remove()
        return SplitIds(count, examples)
