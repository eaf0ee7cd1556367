"""The views of late events and dead letters, held against the fates: the same offsets, the same words and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from penstock.pipeline import ALLOWED_DISORDER_MS
from referee.compare import Differences, Shape, compare, places_text
from referee.fates import Settled
from referee.log import PartitionLog
from referee.snapshot import Snapshot, Where, at_least, below, equal, none_of
from referee.source import Source
from referee.streams import RowStream

_PLACE = ("source_topic_id", "source_partition")
_KEY = (*_PLACE, "source_offset")
_COMMON = {"source_offset": pl.Int64, "source_topic": pl.String, "appended_at": pl.Int64}
_BYTES = ("key", "value")


@dataclass(frozen=True)
class Letters:
    """A view of letters: the fate that it keeps, its topic, and the columns that it has on top."""

    view: str
    fate: str
    topic: str
    own: tuple[tuple[str, Any], ...]

    @property
    def columns(self) -> dict[str, Any]:
        """The table's columns besides its place's; ``detail`` is left out, it is a sentence for people."""
        return {**_COMMON, **dict(self.own), **dict.fromkeys(_BYTES, pl.Binary)}

    def at(self, topic_id: str, partition: int) -> Where:
        """Return the condition on the letters of one source partition."""
        return equal(dict(zip(_PLACE, (topic_id, partition), strict=True)))

    def reached(self, snapshot: Snapshot, topic_id: str, partition: int) -> int:
        """Return the offset behind the last record of one source partition that has a letter; 0 without any."""
        where = self.at(topic_id, partition)
        found = snapshot.largest(snapshot.table_name(self.view), "source_offset", where)
        return 0 if found is None else found + 1

    def stream(self, snapshot: Snapshot, source: Source) -> RowStream:
        """Return the letters of one source partition by offset; without those that can't be proved."""
        where = self.at(source.topic_id, source.partition)
        if source.whole_from_ms is not None:
            where = where & at_least("source_offset", source.start)
        return RowStream(snapshot, snapshot.table_name(self.view), self.columns, "source_offset", where)

    def count_before(self, snapshot: Snapshot, source: Source) -> int:
        """Return how many letters of one source partition are of records before its start."""
        where = self.at(source.topic_id, source.partition) & below("source_offset", source.start)
        return snapshot.count(snapshot.table_name(self.view), where)


LETTERS = (
    Letters(
        "late_events", "late", "late-events",
        (("event_id", pl.String), ("occurred_at", pl.Int64), ("watermark", pl.Int64)),
    ),
    Letters("dead_letters", "dead", "dead-letters", (("reason", pl.String),)),
)  # fmt: skip


class LettersOf:
    """The letters of one source partition, held against its log piece by piece."""

    def __init__(self, letters: Letters, snapshot: Snapshot, source: Source) -> None:
        self._source = source
        self._stream = letters.stream(snapshot, source)
        self._columns = ("source_topic", "appended_at", *(name for name, _ in letters.own), "key_hash", "value_hash")
        self._shape = Shape(letters.view, _KEY, self._columns)
        self.letters = letters

    @property
    def rows(self) -> int:
        """Letters that were read so far."""
        return self._stream.rows

    def check(self, upto: int | None, log: PartitionLog, judged: Settled, differences: Differences) -> None:
        """Hold the next letters, up to an offset (None: all that are left), against the next piece of the log.

        Those below the processor's position must be there; those behind it may be.
        """
        source = self._source
        expected = judged.of(self.letters.fate).select(
            "appended_at", "event_id", "occurred_at", "reason", "key_hash", "value_hash",
            source_offset=pl.col("offset"),
            source_topic=pl.lit(source.topic),
            watermark=pl.col("newest_before") - ALLOWED_DISORDER_MS,
            required=pl.col("offset") < source.position,
        )  # fmt: skip
        place = [pl.lit(source.topic_id).alias(_PLACE[0]), pl.lit(source.partition).alias(_PLACE[1])]
        for part in self._stream.below(upto):
            frames = (_hashed(part.rows), part.of(expected, "source_offset"))
            ours, logs = (_provable(frame, log, source).with_columns(place) for frame in frames)
            compare(self._shape, ours, logs, differences, partial(_trace, source))


def _hashed(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with hashes in place of bytes."""
    hashes = (pl.Series(f"{name}_hash", list(map(hash, rows[name])), dtype=pl.Int64) for name in _BYTES)
    return rows.with_columns(hashes).drop(_BYTES)


def _trace(source: Source, keys: pl.DataFrame, _: str) -> list[str]:
    return [places_text(source.topic, source.partition, [offset]) for offset in keys["source_offset"]]


def _provable(frame: pl.DataFrame, log: PartitionLog, source: Source) -> pl.DataFrame:
    """Leave out letters whose fate depends on what the log no longer holds, or was not asked for."""
    if source.whole_from_ms is None:
        return frame
    torn = log.spine.filter(pl.col("occurred_at") < source.whole_from_ms).select(source_offset="offset")
    return frame.join(torn, on="source_offset", how="anti")


def check_strays(
    letters: Letters, snapshot: Snapshot, places: Sequence[tuple[str, int]], differences: Differences
) -> None:
    """Add a difference for each letter that comes from none of ``places``: (topic id, partition)."""
    columns = {"source_topic_id": pl.String, "source_partition": pl.Int64, "source_offset": pl.Int64}
    known = [dict(zip(_PLACE, place, strict=True)) for place in places]
    for found in snapshot.batches(snapshot.table_name(letters.view), columns, none_of(known)):
        compare(Shape(letters.view, _KEY, ()), found, found.clear(), differences)
