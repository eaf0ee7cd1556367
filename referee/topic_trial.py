"""One source topic held against all views that are made from it: its partitions one by one, then all of them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.progress import Progress
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME
from referee.ahead import ahead
from referee.books import Book
from referee.compare import Differences
from referee.cut import Cut
from referee.entity_trial import EntityTrial
from referee.ids import IdsByPartition, SplitIds
from referee.jobs import Job
from referee.log import PartitionLog
from referee.log_reader import LogReader
from referee.partition import Asked, Extent, PartitionTrial, extent_of
from referee.scope import Scope
from referee.snapshot import Snapshot
from referee.spill import Buckets


@dataclass(frozen=True)
class Case:
    """What all topics are held against, and with what. ``folder`` is for what may be more than memory holds."""

    settings: Settings
    ids: SchemaIds
    cut: Cut
    snapshot: Snapshot
    scope: Scope
    folder: Path
    progress: Progress

    def stored(self, view: str, topic: str, partition: int) -> int:
        """Return up to where a view has read a partition."""
        found = self.snapshot.stored(view, topic, partition)
        return found[1] if found else 0

    def asked(self, topic: str) -> list[Asked]:
        """Return what is asked of each partition of a topic: as far as its processor or any view in scope has got."""
        topic_id = self.cut.topic_ids[topic]
        tables = [table for table in self.scope.tables if table.metric.topic == topic]
        entities = [entity for entity in self.scope.entities if entity.topic == topic]
        found = []
        for (name, partition), frontier in self.cut.frontiers.items():
            if name == topic:
                reached = [table.reached(self.snapshot, partition) for table in tables]
                reached += [letters.reached(self.snapshot, topic_id, partition) for letters in self.scope.letters]
                reached += [self.stored(entity.view, topic, partition) for entity in entities]
                found.append(Asked(topic, partition, frontier, max(reached), self.scope.whole_from_ms))
        return found


Read = tuple[Extent, PartitionLog | None]
"""A piece of the log, and what it is a piece of."""


@dataclass
class Findings:
    """What was found, by one job or by several. Fields are those of :class:`referee.report.Verdict`."""

    differences: Differences = field(default_factory=Differences)
    books: list[Book] = field(default_factory=list)
    split_ids: dict[str, SplitIds] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    events: int = 0
    most_rows_held: int = 0

    @classmethod
    def of_all(cls, jobs: Sequence["Findings"]) -> "Findings":
        """Return those of several jobs together."""
        return cls(
            Differences.of_all([each.differences for each in jobs]),
            sorted((book for each in jobs for book in each.books), key=attrgetter("topic", "partition")),
            {topic: ids for each in jobs for topic, ids in each.split_ids.items()},
            _total(each.rows for each in jobs),
            _total(each.left_out for each in jobs),
            sum(each.gone for each in jobs),
            sum(each.events for each in jobs),
            sum(each.most_rows_held for each in jobs),
        )


def _total(counts: Iterable[Counter[str]]) -> Counter[str]:
    total = Counter[str]()
    for each in counts:  # their sum by + would forget what is 0
        total.update(each)
    return total


class TopicTrial:
    """The comparison of one source topic. Close it when done."""

    def __init__(self, topic: str, case: Case, patience_s: float) -> None:
        self._topic = topic
        self._case = case
        self._reader = LogReader(case.settings, patience_s)
        self._decoder = Decoder(BY_NAME[topic], load_contracts(), case.ids, case.settings.max_record_bytes)
        self._extents = [self._extent(asked) for asked in case.asked(topic)]
        self.offsets = sum(extent.offsets for extent in self._extents)
        buckets = Buckets.of(case.folder, self.offsets)
        views = dict.fromkeys(entity.view for entity in case.scope.entities if entity.topic == topic)
        self._entities = {view: EntityTrial(view, case.scope.entities, buckets) for view in views}
        self._ids = IdsByPartition(topic, buckets)

    def _extent(self, asked: Asked) -> Extent:
        return extent_of(asked, self._reader, self._case.settings)

    def read(self) -> Findings:
        """Read the log, and hold it against all that can be told of one partition."""
        found = Findings()
        with ahead(self._log(), self._reader.stop) as log:
            for extent, of_partition in groupby(log, itemgetter(0)):
                pieces = (piece for _, piece in of_partition if piece is not None)
                self._partition(extent, pieces, found)
        return found

    def jobs(self) -> list[Job[Findings]]:
        """Return what is to be compared when the log has been read."""
        return [*(partial(self._entity, view) for view in self._entities), self._split_ids]

    def _log(self) -> Iterator[Read]:
        """Read partition by partition. Of one without a record to read there is one item."""
        for known in self._extents:
            # Asked again: while others were read, retention may have moved the log's start.
            extent, partition = self._extent(known.asked), known.asked.partition
            pieces = self._reader.pieces(extent.name, partition, extent.start, extent.end, self._decoder)
            yield extent, next(pieces, None)
            yield from ((extent, piece) for piece in pieces)

    def _partition(self, extent: Extent, pieces: Iterator[PartitionLog], found: Findings) -> None:
        case, number = self._case, extent.asked.partition
        topic_id = case.cut.topic_ids[self._topic]
        trial = PartitionTrial(extent, topic_id, case.scope, case.snapshot, found.differences)
        ends = {view: case.stored(view, self._topic, number) for view in self._entities}
        for piece, judged in trial.run(pieces):
            for view, entity in self._entities.items():
                entity.add(piece, judged, ends[view], number)
            self._ids.add(judged.frame, number)
            found.events += len(piece.spine)
            case.progress.advance(piece.end - piece.start, f"{self._topic}/{number}")
        for entity in self._entities.values():
            entity.whole_from(trial.beginning.entities_from_ms)
        found.gone += trial.book.gone if extent.torn else 0
        found.books.append(trial.book)
        found.rows.update(trial.rows)
        found.left_out.update(trial.left_out)
        found.most_rows_held = max(found.most_rows_held, trial.most_rows_held)

    def _entity(self, view: str) -> Findings:
        self._case.progress.advance(0, f"{view}: its rows")
        differences, entity = Differences(), self._entities[view]
        entity.run(self._case.snapshot, differences)
        return Findings(differences, rows=entity.rows, left_out=entity.left_out)

    def _split_ids(self) -> Findings:
        self._case.progress.advance(0, f"{self._topic}: ids in two partitions")
        return Findings(split_ids={self._topic: self._ids.split()})

    def stop(self) -> None:
        """Have a reading in another thread given up, with GaveUpWaiting, when it next asks the broker."""
        self._reader.stop()

    def close(self) -> None:
        """Leave the broker."""
        self._reader.close()
