"""``penstock verify``: recompute every view from the topics and compare every row, at a consistent cut."""

import tempfile
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.errors import Unavailable
from penstock.kafka import check_same_topic
from penstock.progress import Progress, Silent
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import SOURCES
from penstock.waiting import wait_for
from referee import letters as letter_views
from referee import metric_tables, relations
from referee.books import Book
from referee.compare import Differences
from referee.cut import Cut, CutReader, Place
from referee.database import open_database
from referee.entity_trial import EntityTrial
from referee.ids import IdsByPartition, SplitIds
from referee.log import LogReader
from referee.partition import Asked, Extent, PartitionTrial, extent_of
from referee.report import Verdict
from referee.scope import Scope
from referee.snapshot import Snapshot
from referee.spill import Buckets

EVERYTHING = Scope()


def verify(
    settings: Settings,
    ids: SchemaIds,
    timeout_s: float,
    scope: Scope = EVERYTHING,
    progress: Progress | None = None,
) -> Verdict:
    """Return the verdict on the views in ``scope`` of the pipeline version in ``settings``.

    Reads the log of each source partition once, piece by piece, and holds the rows of open panes; what may be more
    (entities, event ids) goes to a temporary folder that is removed at the end.

    Raises GaveUpWaiting when within ``timeout_s`` a part did not answer, or the views did not get as far as the
    processors have committed; ProtectiveStop when a topic was recreated or the configuration is another.
    """
    deadline = time.monotonic() + timeout_s
    with closing(CutReader(settings)) as reader:
        cut = wait_for("the processors' commits", reader.read, timeout_s=timeout_s)
    left_s = max(0.1, deadline - time.monotonic())
    with closing(wait_for("the views", lambda: snapshot_behind(settings, cut, scope), timeout_s=left_s)) as snapshot:
        began = time.monotonic()
        with (
            closing(LogReader(settings, patience_s=max(timeout_s, 1.0))) as log_reader,
            tempfile.TemporaryDirectory(prefix="penstock-verify-") as folder,
        ):
            trial = Trial(settings, ids, cut, snapshot, log_reader, scope, Path(folder), progress or Silent())
            trial.run()
    return trial.verdict(time.monotonic() - began)


def snapshot_behind(settings: Settings, cut: Cut, scope: Scope = EVERYTHING) -> Snapshot:
    """Return a snapshot of the views that has passed ``cut``. Raises Unavailable while they have not."""
    database = open_database(settings)
    try:
        snapshot = Snapshot(database, settings.pipeline_version)
        wanted = needed(cut, scope)
        missing = {view for view, _, _ in wanted} - snapshot.views()
        if missing:
            raise Unavailable(f"{', '.join(sorted(missing))}: no such views yet; is `penstock materialize` running?")
        for (view, topic, partition), offset in wanted.items():
            topic_id, stored = snapshot.stored(view, topic, partition) or (cut.topic_ids[topic], 0)
            check_same_topic(topic, topic_id, cut.topic_ids)
            if stored < offset:
                raise Unavailable(f"view {view} has read {topic}/{partition} up to {stored}, not yet to {offset}")
    except BaseException:
        database.close()
        raise
    return snapshot


def needed(cut: Cut, scope: Scope = EVERYTHING) -> dict[tuple[str, str, int], int]:
    """Return how far each view in ``scope`` must have read each partition (view, topic, number) for ``cut``."""
    reads = [(table.view, topic) for table in scope.tables for topic in table.topics]
    reads += [(letters.view, letters.topic) for letters in scope.letters]
    ends = {
        (view, topic, partition): high if high > low else 0
        for view, topic in reads
        for (name, partition), (low, high) in cut.bounds.items()
        if name == topic
    }
    return ends | {
        (entity.view, topic, partition): frontier.position if frontier.position > cut.bounds[topic, partition][0] else 0
        for entity in scope.entities
        for (topic, partition), frontier in cut.frontiers.items()
        if topic == entity.topic
    }


@dataclass
class Trial:
    """The comparison, one source partition at a time, then what is made from all of them."""

    settings: Settings
    ids: SchemaIds
    cut: Cut
    snapshot: Snapshot
    reader: LogReader
    scope: Scope
    folder: Path
    progress: Progress
    differences: Differences = field(default_factory=Differences)
    books: list[Book] = field(default_factory=list)
    split_ids: dict[str, SplitIds] = field(default_factory=dict)
    rows: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    events: int = 0
    most_rows_held: int = 0

    def __post_init__(self) -> None:
        contracts, limit = load_contracts(), self.settings.max_record_bytes
        self._decoders = {topic.name: Decoder(topic, contracts, self.ids, limit) for topic in SOURCES}

    def run(self) -> None:
        """Compare everything in scope."""
        asked = [self._asked(place) for place in self.cut.frontiers if self.scope.reads(place[0])]
        offsets = Counter[str]()
        for each in asked:
            offsets[each.topic] += self._extent(each).offsets
        self.progress.begin(offsets.total())
        for topic, count in offsets.items():
            self._topic([each for each in asked if each.topic == topic], Buckets.of(self.folder, count))
        self._relations()
        self._strays()
        self.differences.sort()

    def _asked(self, place: Place) -> Asked:
        """Return what is asked of a partition: as far as its processor or any view in scope has got."""
        (topic, partition), snapshot, topic_id = place, self.snapshot, self.cut.topic_ids[place[0]]
        tables = [table for table in self.scope.tables if table.metric.topic == topic]
        reached = [table.reached(snapshot, partition) for table in tables]
        reached += [letters.reached(snapshot, topic_id, partition) for letters in self.scope.letters]
        reached += [self._stored(entity.view, place) for entity in self.scope.entities if entity.topic == topic]
        return Asked(topic, partition, self.cut.frontiers[place], max(reached), self.scope.whole_from_ms)

    def _extent(self, asked: Asked) -> Extent:
        return extent_of(asked, self.reader, self.settings)

    def _stored(self, view: str, place: Place) -> int:
        stored = self.snapshot.stored(view, *place)
        return stored[1] if stored else 0

    def _topic(self, asked: list[Asked], buckets: Buckets) -> None:
        """Read all partitions of one topic."""
        topic = asked[0].topic
        views = dict.fromkeys(entity.view for entity in self.scope.entities if entity.topic == topic)
        entities = {view: EntityTrial(view, self.scope.entities, buckets) for view in views}
        ids = IdsByPartition(topic, buckets)
        for each in asked:
            # Asked again: while others were read, retention may have moved the log's start.
            self._partition(self._extent(each), entities, ids)
        self.progress.advance(0, f"{topic}: entities and ids")
        for trial in entities.values():
            trial.run(self.snapshot, self.differences)
            self.rows.update(trial.rows)
            self.left_out.update(trial.left_out)
        self.split_ids[topic] = ids.split()

    def _partition(self, extent: Extent, entities: dict[str, EntityTrial], ids: IdsByPartition) -> None:
        topic, number = place = extent.asked.topic, extent.asked.partition
        trial = PartitionTrial(extent, self.cut.topic_ids[topic], self.scope, self.snapshot, self.differences)
        ends = {view: self._stored(view, place) for view in entities}
        for piece, judged in trial.run(self.reader, self._decoders[topic]):
            for view, entity in entities.items():
                entity.add(piece, judged, ends[view], number)
            ids.add(judged.frame, number)
            self.events += len(piece.spine)
            self.progress.advance(piece.end - piece.start, f"{topic}/{number}")
        for entity in entities.values():
            entity.whole_from(trial.beginning.entities_from_ms)
        self.gone += trial.book.gone if extent.torn else 0
        self.books.append(trial.book)
        self.rows.update(trial.rows)
        self.left_out.update(trial.left_out)
        self.most_rows_held = max(self.most_rows_held, trial.most_rows_held)

    def _relations(self) -> None:
        shown = self.snapshot.shown()
        for table in self.scope.tables:
            if table.view in shown:
                relations.check_metric(table, self.snapshot, self.scope.whole_from_ms, self.differences)

    def _strays(self) -> None:
        """Look for rows of partitions that do not exist."""
        places = list(self.cut.frontiers)
        for name in dict.fromkeys(table.name for table in self.scope.tables):
            sharing = [table for table in self.scope.tables if table.name == name]
            known = [t.place(number) for t in sharing for topic, number in places if topic == t.metric.topic]
            metric_tables.check_strays(sharing[0], self.snapshot, known, self.differences)
        known_letters = [(self.cut.topic_ids[topic], number) for topic, number in places]
        for letters in self.scope.letters:
            letter_views.check_strays(letters, self.snapshot, known_letters, self.differences)

    def verdict(self, seconds: float) -> Verdict:
        """Return what was found, in ``seconds``."""
        settled = sum(book.settled for book in self.books)
        return Verdict(
            self.differences, self.books, dict(self.rows), self.events, seconds,
            self.gone / settled if settled else 0.0, self.settings.accept_trimmed_log,
            self.split_ids, self.scope, dict(self.left_out), self.most_rows_held,
        )  # fmt: skip
