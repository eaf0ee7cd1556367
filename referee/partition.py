"""One source partition held against all views that are made from it, piece by piece of its log."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import polars as pl

from penstock.frontier import Frontier
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, NO_TIME, PANE_MS, watermark
from penstock.settings import Settings
from penstock.topics import BY_NAME
from penstock.waiting import wait_for
from referee import metric_tables
from referee.books import Book, audit
from referee.compare import Differences
from referee.fates import Settled, Tally, behind_torn_panes, judge
from referee.letters import LettersOf
from referee.log import SPINE, PartitionLog
from referee.log_reader import LogReader
from referee.panes import OpenPanes
from referee.scope import Scope
from referee.snapshot import Snapshot, at_least
from referee.source import Source

EVERYTHING_IS_TORN_MS = 1 << 62
"""Start of the first provable pane of a log that holds nothing any more."""

BROKER_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Asked:
    """A partition to be proved: up to where its processor or any view is (``reached``), from ``from_ms`` on (None: all
    of it)."""

    topic: str
    partition: int
    frontier: Frontier
    reached: int
    from_ms: int | None


@dataclass(frozen=True)
class Extent:
    """What is to be read of a partition of full topic name ``name``: [``start``, ``end``) of [``low``, ``high``)."""

    asked: Asked
    name: str
    low: int
    high: int
    start: int
    end: int

    @property
    def offsets(self) -> int:
        """How many offsets there are to read."""
        return self.end - self.start

    @property
    def asked_for_later(self) -> bool:
        """Whether the log has records before ``start`` that are not asked for."""
        return self.start > max(self.low, self.asked.frontier.start)

    @property
    def torn(self) -> bool:
        """Whether offsets that the processors have settled, and that may be asked for, are gone from the log."""
        return self.low > self.asked.frontier.start and not self.asked_for_later


def extent_of(asked: Asked, reader: LogReader, settings: Settings) -> Extent:
    """Return what to read of a partition, as far as the log goes."""
    name, number = BY_NAME[asked.topic].full_name(settings), asked.partition
    low, high = wait_for(name, lambda: reader.bounds(name, number), timeout_s=BROKER_PATIENCE_S)
    start, end = max(asked.frontier.start, low), min(high, max(asked.frontier.position, asked.reached))
    # The embedded broker can't be asked for an offset by time.
    if asked.from_ms is not None and not settings.embedded:
        # No usable event is more than MAX_AHEAD_MS ahead of its append time: those before are of an earlier time.
        since_ms = asked.from_ms - MAX_AHEAD_MS
        found = wait_for(name, lambda: reader.offset_at(name, number, since_ms), timeout_s=BROKER_PATIENCE_S)
        start = max(start, high if found is None else found)
    return Extent(asked, name, low, high, start, max(start, end))


@dataclass(frozen=True)
class Beginning:
    """What is known where reading begins: ``M``, and from which time on panes and entities can be proved.

    ``newest_ms`` may be higher than ``M`` was, as far as no pane that can be proved is closed by it. None: all can.
    """

    newest_ms: int
    panes_from_ms: int | None
    entities_from_ms: int | None


def beginning(extent: Extent, first: PartitionLog | None) -> Beginning:
    """Return what is known at the start of a log. ``first`` is its first piece, None if there is nothing to read."""
    newest_ms, whole_from_ms = NO_TIME, None
    if extent.start > 0 and not extent.asked_for_later:
        newest_ms = NO_TIME if first is None else behind_torn_panes(first.spine)
        whole_from_ms = EVERYTHING_IS_TORN_MS if newest_ms == NO_TIME else newest_ms - ALLOWED_DISORDER_MS
    panes_from_ms = whole_from_ms if extent.torn else None
    if extent.asked.from_ms is None:
        return Beginning(newest_ms, panes_from_ms, whole_from_ms)
    newest_ms = max(newest_ms, extent.asked.from_ms + ALLOWED_DISORDER_MS)
    panes_from_ms, whole_from_ms = (max(known or 0, extent.asked.from_ms) for known in (panes_from_ms, whole_from_ms))
    return Beginning(newest_ms, panes_from_ms, whole_from_ms)


class PartitionTrial:
    """The views of metrics and letters, and the books, of one source partition. Held are the rows of open panes."""

    def __init__(
        self, extent: Extent, topic_id: str, scope: Scope, snapshot: Snapshot, differences: Differences
    ) -> None:
        self._extent = extent
        self._topic_id = topic_id
        self._snapshot = snapshot
        self._differences = differences
        self._tables = [table for table in scope.tables if table.metric.topic == extent.asked.topic]
        self._scope = scope
        self._panes = OpenPanes(extent.asked.topic)
        self._until_ms = NO_TIME
        self.beginning = Beginning(NO_TIME, None, None)
        self.rows: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.most_rows_held = 0

    def run(self, pieces: Iterator[PartitionLog]) -> Iterator[tuple[PartitionLog, Settled]]:
        """Yield each piece of the log with its fates (second copies among the applied), held against the views.

        All has been compared when there are no more.
        """
        extent = self._extent
        first = next(pieces, None)
        self._begin(first)
        judged = judge(extent.start, pl.DataFrame(schema=SPINE), self.beginning.newest_ms)
        newest_ms = self.beginning.newest_ms
        for piece in chain([] if first is None else [first], pieces):
            judged = judge(piece.start, piece.spine, newest_ms)
            newest_ms = int(judged.frame["newest"][-1])
            self._hold_against_views(piece, judged, newest_ms)
            yield piece, judged
        self._close(None, judged)
        rest = PartitionLog(extent.end, extent.end, pl.DataFrame(schema=SPINE))
        self._check_letters(None, rest, judge(rest.start, rest.spine, newest_ms))
        self._end()

    def _begin(self, first: PartitionLog | None) -> None:
        extent, asked, snapshot = self._extent, self._extent.asked, self._snapshot
        self.beginning = known = beginning(extent, first)
        self._source = source = Source(
            asked.topic, self._topic_id, asked.partition, extent.start, asked.frontier.position, extent.high,
            known.panes_from_ms,
        )  # fmt: skip
        self._tally = Tally(extent.start, asked.frontier.position, known.newest_ms)
        since = at_least("window_start", known.panes_from_ms)
        self._pane_streams = [table.stream(snapshot, table.at(source.partition) & since) for table in self._tables]
        self._letters = [LettersOf(letters, snapshot, source) for letters in self._scope.letters]

    def _hold_against_views(self, piece: PartitionLog, judged: Settled, newest_ms: int) -> None:
        self._tally.add(judged)
        self._panes.add(piece, judged)
        self.most_rows_held = max(self.most_rows_held, self._panes.rows)
        self._check_letters(piece.end, piece, judged)
        until_ms = watermark(newest_ms) // PANE_MS * PANE_MS
        if until_ms > self._until_ms:
            self._until_ms = until_ms
            self._close(until_ms, judged)

    def _close(self, until_ms: int | None, judged: Settled) -> None:
        """Hold the panes that ``judged`` has closed (None: and all that are left) against the views."""
        closed = self._panes.close(until_ms, judged.closes_at)
        self._tally.tell_copies(closed.copies)
        for table, stream in zip(self._tables, self._pane_streams, strict=True):
            metric_tables.check(table, stream, closed, self._source, self._differences)

    def _check_letters(self, upto: int | None, piece: PartitionLog, judged: Settled) -> None:
        for letters in self._letters:
            letters.check(upto, piece, judged, self._differences)

    def _end(self) -> None:
        snapshot, source, from_ms = self._snapshot, self._source, self.beginning.panes_from_ms
        for table, stream in zip(self._tables, self._pane_streams, strict=True):
            self.rows[table.view] += stream.rows
            if from_ms is not None:
                self.left_out[table.view] += table.count_before(snapshot, source.partition, from_ms)
        for each in self._letters:
            self.rows[each.letters.view] += each.rows
            if from_ms is not None:
                self.left_out[each.letters.view] += each.letters.count_before(snapshot, source)
        audit(self.book, self._tally, self._differences)

    @property
    def book(self) -> Book:
        """The books of this partition, recounted if all of them was read."""
        extent, asked = self._extent, self._extent.asked
        recounted = None if extent.torn or asked.from_ms is not None else self._tally.counts()
        return Book(asked.topic, asked.partition, asked.frontier, extent.low, extent.high, recounted)
