"""Building a view beside the live one: its topics are read from their start up to given offsets, and merged.

What is merged, and how, are the stage's own functions. Everything is in the database: a build that was killed goes on
from the offsets of its last transaction.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from consumers.batches import Batch
from consumers.materialization import READ_TIMEOUT_S, decoders_of, sources_of, topics_of
from consumers.materializer import Fenced, Staged, check_sources, merge, stage
from consumers.offsets import Move, Place, Stored, load, start_of
from consumers.reader import Partition, Start
from consumers.rebuild_log import LogReader
from consumers.stores import Store
from consumers.view_files import View
from penstock.errors import GaveUpWaiting, PenstockError, ProtectiveStop
from penstock.kafka import topic_ids
from penstock.progress import Progress, Silent
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME
from penstock.waiting import wait_for

T = TypeVar("T")


@dataclass(frozen=True)
class Options:
    """What the user said. ``limit`` is how many differing rows are listed of a table."""

    accept_trimmed: bool = False
    limit: int = 20
    timeout_s: float = 60.0


class Builder:
    """Brings the tables of ``version`` of a view to given offsets. :attr:`stored` is how far they are."""

    def __init__(  # noqa: PLR0913  # its parts
        self, settings: Settings, view: View, ids: SchemaIds, options: Options, store: Store, log: LogReader
    ) -> None:  # fmt: skip
        self._settings, self._view, self._options = settings, view, options
        self._store, self._log = store, log
        self._decoders = decoders_of(settings, [view], ids)
        self._full_names = {topic.full_name(settings): topic for topic in topics_of([view])}
        self._partitions: list[Partition] = []
        self._done = 0
        self.progress: Progress = Silent()
        self.topic_ids: dict[str, str] = {}
        self.version = 0
        self.stored: dict[Place, Stored] = {}
        self.skipped: Counter[str] = Counter()
        self.lost: dict[Place, int] = {}
        """Offsets that the log no longer holds."""

    def look(self) -> None:
        """Ask the broker for the partitions and the ids of the topics."""
        self._partitions = self._broker(self._log.partitions)
        self.topic_ids = self.current_ids()

    def current_ids(self) -> dict[str, str]:
        """Return the topic ids of now, by logical name."""
        known = {topic.name: topic for topic in self._view.topics}
        known |= {name: BY_NAME[name] for name in sources_of([self._view])}
        return self._broker(lambda: topic_ids(self._settings, known.values()))

    def begin(self, version: int) -> None:
        """Go on with the tables of ``version`` from the offsets that are stored for them."""
        self.version = version
        self.stored = self.database(lambda: self._offsets(version))

    def check_starts(self) -> None:
        """Raise ProtectiveStop if the log does not hold what is not merged yet, unless that is accepted."""
        for partition in self._partitions:
            self._start(partition)

    def _offsets(self, version: int) -> dict[Place, Stored]:
        with self._store.snapshot() as transaction:
            return load(transaction, version, [self._view.name])

    def targets(self, live: Mapping[Place, Stored]) -> dict[Partition, int]:
        """Return where to read each partition to: as far as ``live`` is; of a topic that it does not read, to the end.

        Raises ProtectiveStop if the live build can't go on itself: another topic, or a log that lost its end.
        """
        read = {place.topic for place in live}
        targets = {}
        for partition in self._partitions:
            low, high = self._broker(lambda partition=partition: self._log.bounds(partition))  # type: ignore[misc]
            place = self._place(partition)
            start_of(place, live.get(place), self.topic_ids[place.topic], low, high, accept_trimmed=True)
            unread = 0 if place.topic in read else high
            targets[partition] = live[place].next if place in live else unread
        return targets

    def _place(self, partition: Partition) -> Place:
        return Place(self._view.name, self._full_names[partition[0]].name, partition[1])

    def _next(self, partition: Partition) -> int:
        stored = self.stored.get(self._place(partition))
        return 0 if stored is None else stored.next

    def _start(self, partition: Partition) -> Start:
        """Return where to read on. Raises ProtectiveStop if the log begins behind that, and that is not accepted."""
        low, high = self._broker(lambda: self._log.bounds(partition))
        place, merged = self._place(partition), self._next(partition)
        stored = self.stored.get(place)
        if merged < low and not (self._options.accept_trimmed or self._settings.accept_trimmed_log):
            raise ProtectiveStop(
                f"{place}: the log begins at offset {low}, and offset {merged} is needed: {low - merged} offsets are "
                "lost, and rows that only they made would be; --accept-trimmed-log goes on with what is left"
            )
        offset = start_of(place, stored, self.topic_ids[place.topic], low, high, accept_trimmed=True)
        if offset > merged:
            self.lost[place] = offset - merged
        return Start(merged, offset)

    def advance(self, targets: Mapping[Partition, int]) -> int:
        """Merge what is missing up to ``targets``; return how many offsets those were."""
        ahead = [str(self._place(p)) for p in self._partitions if self._next(p) > targets[p]]
        if ahead:
            raise PenstockError(
                f"{ahead[0]}: what was built is ahead of the live view, which was set or rolled back: run it again "
                f"when that has caught up, or drop what was built: `penstock rebuild {self._view.name} --drop`"
            )
        behind = {p: targets[p] for p in self._partitions if self._next(p) < targets[p]}
        missing = sum(target - self._next(p) for p, target in behind.items())
        if not behind:
            return 0
        self.expect(missing)
        starts = {partition: self._start(partition) for partition in behind}
        self._log.start({p: start for p, start in starts.items() if start.offset < behind[p]}, behind)
        self._log.ends.update({p: start.offset for p, start in starts.items() if start.offset >= behind[p]})
        self._read(behind)
        return missing

    def _read(self, targets: Mapping[Partition, int]) -> None:
        deadline = time.monotonic() + self._options.timeout_s
        while behind := [partition for partition in targets if self._next(partition) < targets[partition]]:
            before = dict(self.stored)
            for batch in self._log.read(self._settings.view_batch_records, READ_TIMEOUT_S):
                self._settle(batch)
            for partition in behind:
                if self._log.ends.get(partition, -1) >= targets[partition] > self._next(partition):
                    self._skip_to(partition, targets[partition])
            if self.stored != before:
                deadline = time.monotonic() + self._options.timeout_s
            elif time.monotonic() > deadline:
                raise GaveUpWaiting(
                    f"gave up after {self._options.timeout_s:.0f} s: nothing came of {self._place(behind[0])}; what "
                    "was built stays, and the next run goes on from there"
                )

    def _settle(self, batch: Batch) -> None:
        decoded = self._wait("registry", lambda: self._decoders[batch.topic.name].decode(batch.values))
        if batch.topic.role == "results":
            check_sources(batch, decoded, self.topic_ids)
        staged = stage(self._view, batch, decoded, self.topic_ids[batch.topic.name], self.stored)
        if staged is not None:
            self._merge(staged, batch.topic.name)

    def _skip_to(self, partition: Partition, target: int) -> None:
        """Move over offsets that the log has no record for."""
        place = self._place(partition)
        known = self.stored.get(place)
        move = Move(place, self.topic_ids[place.topic], known.next if known else None, target)
        self._merge(Staged((move,), (), 0, {}), f"{place.topic}/{place.partition}")

    def _merge(self, staged: Staged, now: str) -> None:
        try:
            self.database(lambda: merge(self._store, self._view, self.version, staged))
        except Fenced:
            # Unless the answer to our own commit was lost, this is another one's work.
            found = self.database(lambda: self._offsets(self.version))
            if any(found.get(move.place) != Stored(move.topic_id, move.new) for move in staged.moves):
                raise PenstockError(somebody_else(self._view)) from None
        self.stored.update({move.place: Stored(move.topic_id, move.new) for move in staged.moves})
        self.skipped.update(staged.skipped)
        self.tell(sum(move.new - (move.expected or 0) for move in staged.moves), now)

    def expect(self, more: int) -> None:
        """Say that there are ``more`` to do."""
        self.progress.begin(self._done + more)

    def tell(self, done: int, now: str) -> None:
        """Say that ``done`` more are done."""
        self._done += done
        self.progress.advance(done, now)

    def database(self, work: Callable[[], T]) -> T:
        """Return what ``work()`` returns, tried again while the database is away."""
        return self._wait("database", work)

    def _broker(self, work: Callable[[], T]) -> T:
        return self._wait("broker", work)

    def _wait(self, part: str, work: Callable[[], T]) -> T:
        return wait_for(part, work, timeout_s=self._options.timeout_s)


def somebody_else(view: View) -> str:
    """Return what to say when another process does the same."""
    return f"view {view.name} is rebuilt by another process too; one of them must end: nothing was swapped"
