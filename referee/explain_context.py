"""What explanations are made from: a cut, a snapshot behind it, and the parts of the log that can matter."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import polars as pl

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS
from penstock.progress import Progress
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME, SOURCES
from penstock.waiting import wait_for
from referee.cut import Cut
from referee.explain_walk import Pick, Walk
from referee.explanation import Read
from referee.fates import behind_torn_panes
from referee.log import Chunk, LogBuilder, PartitionLog
from referee.log_reader import LogReader
from referee.snapshot import Snapshot, Where

BROKER_PATIENCE_S = 30.0
LETTERS_AT_A_TIME = 1_000
USUAL_DELAY_MS = 5_000
"""How long after an event's time its record is usually in the log: a guess that only saves reading."""

_LETTER = {
    "source_offset": pl.Int64, "appended_at": pl.Int64, "key": pl.Binary, "value": pl.Binary,
}  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """A part of one partition's log, [``start``, ``end``) of [``low``, ``high``).

    ``torn``: it begins where the log begins, and that is not the beginning. ``gone``: offsets that the processors have
    settled are no longer there.
    """

    topic: str
    partition: int
    start: int
    end: int
    low: int
    high: int
    torn: bool
    gone: bool

    def read_to(self, end: int) -> Read:
        """Return what was read when reading ended at ``end``."""
        return Read(self.topic, self.partition, self.start, max(self.start, end), self.low, self.high)


@dataclass
class Context:
    """The parts that an explanation needs."""

    settings: Settings
    ids: SchemaIds
    cut: Cut
    snapshot: Snapshot
    reader: LogReader
    progress: Progress

    @cached_property
    def _decoders(self) -> dict[str, Decoder]:
        contracts = load_contracts()
        limit = self.settings.max_record_bytes
        return {topic.name: Decoder(topic, contracts, self.ids, limit) for topic in SOURCES}

    def partitions(self, topic: str) -> list[int]:
        """Return the numbers of a topic's partitions."""
        return [number for name, number in self.cut.frontiers if name == topic]

    def stretch(self, topic: str, partition: int, reached: int, from_ms: int | None = None) -> Stretch:
        """Return what to read of a partition: up to ``P``, or ``reached`` if that is further.

        ``from_ms``: only events of that time or later are asked for. No usable one is more than MAX_AHEAD_MS ahead of
        its append time, so that what was appended earlier than that can neither be one, nor close their panes.
        """
        frontier, name = self.cut.frontiers[topic, partition], BY_NAME[topic].full_name(self.settings)
        low, high = wait_for(name, lambda: self.reader.bounds(name, partition), timeout_s=BROKER_PATIENCE_S)
        begin = max(frontier.start, low)
        start, end = begin, min(high, max(frontier.position, reached))
        if from_ms is not None and not self.settings.embedded:  # the embedded broker knows no offsets by time
            start = max(start, self._offset_at(name, partition, max(0, from_ms - MAX_AHEAD_MS), high))
        torn = start == begin > 0
        return Stretch(topic, partition, start, max(start, end), low, high, torn, torn and low > frontier.start)

    def _offset_at(self, name: str, partition: int, append_ms: int, high: int) -> int:
        """Return the first offset that was appended at a time or later; without any, the log's end."""
        found = wait_for(name, lambda: self.reader.offset_at(name, partition, append_ms), timeout_s=BROKER_PATIENCE_S)
        return high if found is None else found

    def walk(
        self, stretch: Stretch, pick: Pick, *, from_ms: int | None = None, until_ms: int | None = None
    ) -> tuple[Walk, int | None]:
        """Walk along a stretch (see :meth:`referee.explain_walk.Walk.along`).

        Return the walk, and the start of the first pane that the log holds whole; None: all it was asked for.
        """
        walk = Walk(stretch.topic, stretch.partition, pick, end=stretch.start)
        if from_ms is not None:
            walk.from_ms = from_ms
        whole_from_ms: list[int] = []

        def pieces() -> Iterator[PartitionLog]:
            for piece in self._pieces(stretch, until_ms):
                if stretch.gone and not whole_from_ms:
                    whole_from_ms.append(behind_torn_panes(piece.spine) - ALLOWED_DISORDER_MS)
                yield piece

        now = f"{stretch.topic}/{stretch.partition}"
        advance: Callable[[int], None] = lambda offsets: self.progress.advance(offsets, now)  # noqa: E731
        walk.along(pieces(), torn=stretch.torn, until_ms=until_ms, advance=advance)
        return walk, whole_from_ms[0] if whole_from_ms else None

    def _pieces(self, stretch: Stretch, until_ms: int | None) -> Iterator[PartitionLog]:
        name, decoder = BY_NAME[stretch.topic].full_name(self.settings), self._decoders[stretch.topic]
        likely = stretch.end
        if until_ms is not None and not self.settings.embedded:
            # Events come soon after they occurred: by then M has most likely got so far.
            likely = self._offset_at(name, stretch.partition, until_ms + USUAL_DELAY_MS, stretch.high)
            likely = min(max(likely, stretch.start), stretch.end)
        yield from self.reader.pieces(name, stretch.partition, stretch.start, likely, decoder)
        yield from self.reader.pieces(name, stretch.partition, likely, stretch.end, decoder)

    def letters(self, view: str, topic: str, where: Where, more: str) -> Iterator[tuple[PartitionLog, pl.DataFrame]]:
        """Yield the records that letters of a view keep, decoded, and the letters' column ``more`` by offset."""
        columns = {**_LETTER, more: pl.Int64 if more == "watermark" else pl.String}
        for batch in self.snapshot.batches(self.snapshot.table_name(view), columns, where, "source_offset"):
            for rows in batch.iter_slices(LETTERS_AT_A_TIME):
                chunk = Chunk(*(rows[name].to_list() for name in _LETTER))
                decoded = self._decoders[topic].decode(chunk.values)
                builder = LogBuilder(self.settings.max_record_bytes)
                builder.add(chunk, decoded)
                log = builder.build(chunk.offsets[0], chunk.offsets[-1] + 1)
                yield log, rows.select(pl.col("source_offset").alias("offset"), more)
