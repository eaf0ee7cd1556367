"""The views of late events and dead letters, held against the fates: the same offsets, the same words and bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.pipeline import ALLOWED_DISORDER_MS
from referee.compare import Differences, Shape, compare
from referee.snapshot import Snapshot
from referee.source import Source

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

    def seen(self, snapshot: Snapshot, topic_id: str, partition: int) -> pl.DataFrame:
        """Return the rows of one source partition, with hashes in place of bytes."""
        place = dict(zip(_PLACE, (topic_id, partition), strict=True))
        rows = snapshot.table(self.view, self.columns, place)
        hashes = (pl.Series(f"{name}_hash", list(map(hash, rows[name])), dtype=pl.Int64) for name in _BYTES)
        return rows.with_columns(hashes).drop(_BYTES)


LETTERS = (
    Letters(
        "late_events", "late", "late-events",
        (("event_id", pl.String), ("occurred_at", pl.Int64), ("watermark", pl.Int64)),
    ),
    Letters("dead_letters", "dead", "dead-letters", (("reason", pl.String),)),
)  # fmt: skip


def check(letters: Letters, seen: pl.DataFrame, source: Source, differences: Differences) -> int:
    """Hold the letters of one source partition against its log; return how many rows were compared.

    Those below the processor's position must be there; those behind it may be.
    """
    expected = source.settled.of(letters.fate).with_columns(
        source_offset=pl.col("offset"),
        source_topic=pl.lit(source.topic),
        watermark=pl.col("newest_before") - ALLOWED_DISORDER_MS,
        required=pl.col("offset") < source.position,
    )
    columns = ("source_topic", "appended_at", *(name for name, _ in letters.own), "key_hash", "value_hash")
    if source.whole_from_ms is not None:
        seen, expected = (_provable(frame, source, source.whole_from_ms) for frame in (seen, expected))
    place = [pl.lit(source.topic_id).alias(_PLACE[0]), pl.lit(source.partition).alias(_PLACE[1])]
    compare(
        Shape(letters.view, _KEY, columns),
        seen.with_columns(place),
        expected.select("source_offset", *columns, "required").with_columns(place),
        differences,
    )
    return len(seen)


def _provable(frame: pl.DataFrame, source: Source, whole_from_ms: int) -> pl.DataFrame:
    """Leave out the letters that the log no longer holds, or whose fate depends on what it no longer holds."""
    torn = source.log.spine.filter(pl.col("occurred_at") < whole_from_ms).select(source_offset="offset")
    held = frame.filter(pl.col("source_offset") >= source.log.start)
    return held.join(torn, on="source_offset", how="anti")


def check_strays(
    letters: Letters, snapshot: Snapshot, places: Sequence[tuple[str, int]], differences: Differences
) -> None:
    """Add a difference for each letter that comes from none of ``places``: (topic id, partition)."""
    columns = {"source_topic_id": pl.String, "source_partition": pl.Int64, "source_offset": pl.Int64}
    known = [dict(zip(_PLACE, place, strict=True)) for place in places]
    found = snapshot.strays(letters.view, columns, known)
    compare(Shape(letters.view, _KEY, ()), found, found.clear(), differences)
