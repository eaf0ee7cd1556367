"""``penstock verify``: recompute every view from the topics and compare every row, at a consistent cut."""

import time
from collections import Counter
from collections.abc import Mapping
from contextlib import closing

import polars as pl

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.errors import Unavailable
from penstock.frontier import Frontier
from penstock.kafka import check_same_topic
from penstock.pipeline import ALLOWED_DISORDER_MS, NO_TIME
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME, SOURCES
from penstock.waiting import wait_for
from referee import letters as letter_views
from referee import metric_tables, relations
from referee.books import Book, audit, unproved_share
from referee.compare import Differences, Shape, compare
from referee.cut import Cut, CutReader, Place
from referee.entities import ENTITIES, Entity, mask_unprovable, newest, rows
from referee.fates import behind_torn_panes, settle
from referee.letters import LETTERS
from referee.log import LogReader
from referee.metric_tables import TABLES, MetricTable
from referee.report import Verdict
from referee.snapshot import Snapshot, open_database
from referee.source import Source

EVERYTHING_IS_TORN_MS = 1 << 62
"""Start of the first provable pane of a log that holds nothing any more."""


def verify(settings: Settings, ids: SchemaIds, timeout_s: float) -> Verdict:
    """Return the verdict on all views of the pipeline version in ``settings``.

    Raises GaveUpWaiting when within ``timeout_s`` a part did not answer, or the views did not get as far as the
    processors have committed; ProtectiveStop when a topic was recreated or the configuration is another.
    """
    deadline = time.monotonic() + timeout_s
    with closing(CutReader(settings)) as reader:
        cut = wait_for("the processors' commits", reader.read, timeout_s=timeout_s)
    left_s = max(0.1, deadline - time.monotonic())
    with closing(wait_for("the views", lambda: snapshot_behind(settings, cut), timeout_s=left_s)) as snapshot:
        began = time.monotonic()
        with closing(LogReader(settings, patience_s=max(timeout_s, 1.0))) as log_reader:
            trial = Trial(settings, ids, cut, snapshot, log_reader)
            trial.run()
    share = unproved_share(trial.books)
    return Verdict(
        trial.differences, trial.books, dict(trial.rows), trial.events, time.monotonic() - began, share,
        settings.accept_trimmed_log,
    )  # fmt: skip


def snapshot_behind(settings: Settings, cut: Cut) -> Snapshot:
    """Return a snapshot of the views that has passed ``cut``. Raises Unavailable while they have not."""
    database = open_database(settings)
    try:
        snapshot = Snapshot(database, settings.pipeline_version)
        missing = {view for view, _, _ in needed(cut)} - snapshot.views()
        if missing:
            raise Unavailable(f"{', '.join(sorted(missing))}: no such views yet; is `penstock materialize` running?")
        for (view, topic, partition), offset in needed(cut).items():
            topic_id, stored = snapshot.stored(view, topic, partition) or (cut.topic_ids[topic], 0)
            check_same_topic(topic, topic_id, cut.topic_ids)
            if stored < offset:
                raise Unavailable(f"view {view} has read {topic}/{partition} up to {stored}, not yet to {offset}")
    except BaseException:
        database.close()
        raise
    return snapshot


def needed(cut: Cut) -> dict[tuple[str, str, int], int]:
    """Return how far each view must have read each partition (view, topic, number) to be behind ``cut``."""
    reads = [(table.name, topic) for table in TABLES for topic in table.topics]
    reads += [(letters.view, letters.topic) for letters in LETTERS]
    ends = {
        (view, topic, partition): high if high > low else 0
        for view, topic in reads
        for (name, partition), (low, high) in cut.bounds.items()
        if name == topic
    }
    return ends | {
        (entity.view, topic, partition): frontier.position if frontier.position > cut.bounds[topic, partition][0] else 0
        for entity in ENTITIES
        for (topic, partition), frontier in cut.frontiers.items()
        if topic == entity.topic
    }


class Trial:
    """The comparison, one source partition at a time."""

    def __init__(
        self, settings: Settings, ids: SchemaIds, cut: Cut, snapshot: Snapshot, reader: LogReader
    ) -> None:
        contracts = load_contracts()
        self._settings = settings
        self._cut = cut
        self._snapshot = snapshot
        self._reader = reader
        self._decoders = {
            topic.name: Decoder(topic, contracts, ids, settings.max_record_bytes) for topic in SOURCES
        }
        self._table_rows: dict[MetricTable, list[pl.DataFrame]] = {table: [] for table in TABLES}
        self._newest: dict[str, list[Mapping[str, pl.DataFrame]]] = {entity.table: [] for entity in ENTITIES}
        self._entities_whole_from: dict[str, int] = {}
        self.differences = Differences()
        self.books: list[Book] = []
        self.rows: Counter[str] = Counter()
        self.events = 0

    def run(self) -> None:
        """Compare everything."""
        for place, frontier in self._cut.frontiers.items():
            self._partition(place, frontier)
        for entity in ENTITIES:
            self._entity(entity)
        self._relations()
        self._strays()

    def _partition(self, place: Place, frontier: Frontier) -> None:
        topic, partition = place
        topic_id = self._cut.topic_ids[topic]
        tables = {table: table.seen(self._snapshot, partition) for table in TABLES if table.metric.topic == topic}
        kept = {letters: letters.seen(self._snapshot, topic_id, partition) for letters in LETTERS}
        reached = [self._stored(entity, place) for entity in ENTITIES if entity.topic == topic]
        reached += [_beyond(frame["next_offset"], 0) for frame in tables.values()]
        reached += [_beyond(frame["source_offset"], 1) for frame in kept.values()]
        source, book = self._read(place, frontier, max(reached))
        audit(book, source.settled, self.differences)
        self.books.append(book)
        for table, frame in tables.items():
            self._table_rows[table].append(frame)
            self.rows[table.name] += metric_tables.check(table, frame, source, self.differences)
        for letters, frame in kept.items():
            self.rows[letters.view] += letter_views.check(letters, frame, source, self.differences)
        for entity in ENTITIES:
            if entity.topic == topic:
                found = newest(entity, source.log, source.settled, self._stored(entity, place))
                self._newest[entity.table].append(found)

    def _read(self, place: Place, frontier: Frontier, reached: int) -> tuple[Source, Book]:
        """Read a partition up to where its processor or any view is, as far as the log goes."""
        topic, partition = place
        name = BY_NAME[topic].full_name(self._settings)
        low, high = wait_for(name, lambda: self._reader.bounds(name, partition), timeout_s=30.0)
        start, end = max(frontier.start, low), min(high, max(frontier.position, reached))
        log = self._reader.read(name, partition, start, max(start, end), self._decoders[topic])
        self.events += len(log.spine)
        gone = low > frontier.start
        # The log of an order or device began at `start`; panes before that may be torn.
        newest_ms = behind_torn_panes(log.spine) if start > 0 else NO_TIME
        whole_from_ms = EVERYTHING_IS_TORN_MS if newest_ms == NO_TIME else newest_ms - ALLOWED_DISORDER_MS
        if start > 0:
            earlier = self._entities_whole_from.get(topic, 0)
            self._entities_whole_from[topic] = max(earlier, whole_from_ms)
        settled = settle(start, log.spine, newest_ms)
        recounted = None if gone else settled.counts(frontier.position)
        return (
            Source(
                topic, self._cut.topic_ids[topic], partition, log, settled, frontier.position, high,
                whole_from_ms if gone else None,
            ),
            Book(topic, partition, frontier, low, high, recounted),
        )  # fmt: skip

    def _stored(self, entity: Entity, place: Place) -> int:
        stored = self._snapshot.stored(entity.view, *place)
        return stored[1] if stored else 0

    def _entity(self, entity: Entity) -> None:
        seen = entity.seen(self._snapshot)
        expected = rows(entity, self._newest.pop(entity.table))
        torn = self._entities_whole_from.get(entity.topic)
        compared = (seen, expected) if torn is None else mask_unprovable(entity, seen, expected, torn)
        name = entity.table
        compare(Shape(name, entity.key, entity.columns), *compared, self.differences)
        self.rows[name] += len(seen)

    def _relations(self) -> None:
        shown = self._snapshot.shown()
        for table, frames in self._table_rows.items():
            if table.name in shown:
                relations.check_metric(table, pl.concat(frames), self._snapshot, self.differences)
        for view in dict.fromkeys(entity.view for entity in ENTITIES if entity.view in shown):
            tables = {entity.table: entity.seen(self._snapshot) for entity in ENTITIES if entity.view == view}
            relations.check_entity(view, tables, self._snapshot, self.differences)

    def _strays(self) -> None:
        places = list(self._cut.frontiers)
        for name in dict.fromkeys(table.name for table in TABLES):
            sharing = [table for table in TABLES if table.name == name]
            known = [t.place(number) for t in sharing for topic, number in places if topic == t.metric.topic]
            metric_tables.check_strays(sharing[0], self._snapshot, known, self.differences)
        known_letters = [(self._cut.topic_ids[topic], number) for topic, number in places]
        for letters in LETTERS:
            letter_views.check_strays(letters, self._snapshot, known_letters, self.differences)


def _beyond(offsets: pl.Series, more: int) -> int:
    """Return the largest of ``offsets`` plus ``more``; 0 without any."""
    return 0 if offsets.null_count() == len(offsets) else int(offsets.max()) + more  # type: ignore[arg-type]
