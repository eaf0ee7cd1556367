"""The loop of the stage: read, decode, merge, say how it goes. What it decides, it asks of the modules it calls."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from consumers.batches import Batch
from consumers.builds import follow, load_live, pipeline_of
from consumers.materializer import Fenced, Staged, check_sources, merge, source_of, stage, views_of
from consumers.merging import Merging, OnFinish
from consumers.meters import STAGE, LagClock, Meters
from consumers.offsets import Place, Stored, start_of
from consumers.reader import Partition, Reader, Start
from consumers.stores import Store
from consumers.tables import prepare
from consumers.view_files import View, version_name
from penstock.avro import Decoded, Decoder
from penstock.contracts import load_contracts
from penstock.errors import PenstockError, ProtectiveStop, Unavailable
from penstock.health import Health
from penstock.kafka import topic_ids
from penstock.letters import max_letter_bytes
from penstock.log import about_batch, get_logger
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME, Topic
from penstock.waiting import wait_for

if TYPE_CHECKING:
    from consumers.traces import Traces

T = TypeVar("T")

READ_TIMEOUT_S = 0.1
"""How long a batch that is not full may gather."""

CHECK_EVERY_S = 10.0
"""How often topic ids and stored offsets are looked at while nothing else asks for them."""


class _Reassigned(Exception):  # not an error
    """The partitions moved while a batch waited: it is dropped."""


def topics_of(views: Iterable[View]) -> tuple[Topic, ...]:
    """Return the topics that ``views`` read, each once; probes last, behind the results that they speak for."""
    topics = {topic.name: topic for view in views for topic in view.topics}
    return tuple(sorted(topics.values(), key=lambda topic: topic.role == "probes"))


def sources_of(views: Iterable[View]) -> set[str]:
    """Return the logical names of the source topics that the results which ``views`` read are folded from."""
    return {
        source_of(topic, record)
        for view in views
        for topic in view.topics
        for record in view.merges
        if topic.role == "results"
    }


def decoders_of(settings: Settings, views: Iterable[View], ids: SchemaIds) -> dict[str, Decoder]:
    """Return the decoders of the topics that ``views`` read, by logical name."""
    contracts = load_contracts()
    return {topic.name: Decoder(topic, contracts, ids, _max_bytes(topic, settings)) for topic in topics_of(views)}


def _max_bytes(topic: Topic, settings: Settings) -> int:
    limit = settings.max_record_bytes
    return max_letter_bytes(limit) if topic.role == "letters" else limit


@dataclass(frozen=True)
class _InHand:
    """A merge that was begun. ``after`` is what the database will say of its places when it is done."""

    view: View
    batch: Batch
    staged: Staged
    after: Mapping[Place, Stored]


class Materialization:
    """The running stage. :attr:`stored` is what we believe the database to say; its compare-and-set proves it.

    A merge may be in hand while the next batch is read (``merging`` says how): what it will have moved is no part of
    ``stored`` until it is finished. The database is used by nobody else meanwhile.

    ``current_ids`` and ``clock`` are how it sees the topics' ids and the time. ``live`` is told the table version that
    each view is merged into: a rebuild moves it.
    """

    def __init__(  # noqa: PLR0913  # its parts
        self,
        settings: Settings,
        views: tuple[View, ...],
        store: Store,
        reader: Reader,
        *,
        decoders: Mapping[str, Decoder],
        meters: Meters,
        health: Health,
        stopping: threading.Event,
        current_ids: Callable[[Settings, Iterable[Topic]], dict[str, str]] = topic_ids,
        clock: Callable[[], float] = time.monotonic,
        traces: "Traces | None" = None,
        live: dict[str, int] | None = None,
        merging: Merging | None = None,
    ) -> None:
        self._traces = traces
        self.live = {} if live is None else live
        self._merging: Merging = OnFinish() if merging is None else merging
        self._in_hand: _InHand | None = None
        self._decoded: list[tuple[Batch, float]] = []
        """Batches that are in their views when the merge in hand is done, and when their decoding began."""
        self._settings, self._version = settings, settings.pipeline_version
        self._views, self._topics = views, topics_of(views)
        self._full_names = {topic.full_name(settings): topic for topic in self._topics}
        self._store, self._reader, self._meters = store, reader, meters
        self._health, self._stopping = health, stopping
        self._decoders = decoders
        self._ask_ids, self._clock = current_ids, clock
        self._sources = sources_of(views)
        self._topic_ids: dict[str, str] = {}
        self._lag = LagClock()
        self._next_tick = self._next_check = 0.0
        self.stored: dict[Place, Stored] = {}

    def begin(self, *, swap: bool) -> None:
        """Make the tables and join the group; waits for the database and the broker."""
        shown = self._await("database", lambda: prepare(self._store, self._views, self._version, swap=swap))
        others = {view: version for view, version in shown.items() if pipeline_of(version) != self._version}
        if others:
            get_logger(STAGE).warning("the relations show another version; --swap changes that", shown=others)
        self._await("broker", self._reader.subscribe)
        self._topic_ids = self._await("broker", self._current_ids)
        self._health.started()

    def step(self) -> None:
        """Settle what came, or wait a moment for something to come."""
        if self._reader.moved:
            self._find_positions()
        limit = self._settings.view_batch_records
        batches = self._reader.read(limit, READ_TIMEOUT_S)
        backlog = sum(len(batch.values) for batch in batches) >= limit
        due = self._clock() >= self._next_tick
        try:
            for batch in batches:
                self._settle(batch)
                if self._reader.moved:
                    break
            if due or not backlog:
                self._finish()
        except _Reassigned:
            return
        if due:
            self._tick()

    def end(self) -> None:
        """Tell the group how far the views are, and leave it."""
        try:
            self._finish()
        except _Reassigned:
            return
        self._reader.close(self._positions())

    def _find_positions(self) -> None:
        """Ask the database and the broker where to read on, for what is assigned now. Raises ProtectiveStop."""
        names = [view.name for view in self._views]
        try:
            self._finish()
            self._decoded.clear()
            self.stored = self._patiently("database", lambda: self._load(names))
            starts = self._patiently("broker", self._starts)
            self._meters.forget_lag()
            self._reader.start(starts)
            # Made anew behind the first look, a topic would be read under its old id.
            self._patiently("broker", self._check_topics)
        except _Reassigned:
            return

    def _load(self, names: list[str]) -> dict[Place, Stored]:
        with self._store.snapshot() as transaction:
            self.live.update(follow(transaction, self._views, self._version))
            return load_live(transaction, {name: self.live[name] for name in names})

    def _starts(self) -> dict[Partition, Start]:
        self._check_topics()
        return {partition: self._start(partition) for partition in sorted(self._reader.assigned)}

    def _start(self, partition: Partition) -> Start:
        topic = self._full_names[partition[0]]
        low, high = self._reader.bounds(partition)
        places = self._places(partition)
        accept = self._settings.accept_trimmed_log
        offset = min(
            start_of(place, self.stored.get(place), self._topic_ids[topic.name], low, high, accept_trimmed=accept)
            for place in places
        )
        merged = min(self.stored[place].next if place in self.stored else 0 for place in places)
        if merged < offset:
            get_logger(STAGE).warning(
                "records are lost, and accepted as such", topic=topic.name, partition=partition[1],
                offsets=offset - merged, log_start=offset,
            )  # fmt: skip
        return Start(merged, offset)

    def _settle(self, batch: Batch) -> None:
        """Merge ``batch`` into each view that reads its topic; the last merge may stay in hand.

        Raises _Reassigned if it waited past a rebalance.
        """
        with self._about(batch):
            if self._traces is None:
                self._settle_in_views(batch)
                return
            self._finish()
            with self._traces.batch(batch.topic.full_name(self._settings), batch):
                self._settle_in_views(batch)
                self._finish()

    def _about(self, batch: Batch) -> AbstractContextManager[None]:
        return about_batch(batch.topic.name, [span.partition for span in batch.spans], batch.offsets)

    def _settle_in_views(self, batch: Batch) -> None:
        began = time.monotonic()
        decoded = self._patiently("registry", lambda: self._decoders[batch.topic.name].decode(batch.values))
        if batch.topic.role == "results":
            check_sources(batch, decoded, self._topic_ids)
        for view in views_of(self._views, batch.topic):
            self._merge(view, batch, decoded)
            if self._reader.moved:  # what was in hand came to nothing: the batch no longer follows what the views have
                return
        self._decoded.append((batch, began))
        if self._in_hand is None:
            self._count_decoded()

    def _merge(self, view: View, batch: Batch, decoded: Decoded) -> None:
        """Begin to merge what of ``batch`` enters ``view``, after what is in hand; not if positions are to be found."""
        believed = self.stored if self._in_hand is None else {**self.stored, **self._in_hand.after}
        staged = stage(view, batch, decoded, self._topic_ids[batch.topic.name], believed)
        if staged is None:
            return
        self._finish()
        if self._reader.moved:
            return
        version = self.live[view.name]
        self._merging.start(lambda: merge(self._store, view, version, staged))
        after = {move.place: Stored(move.topic_id, move.new) for move in staged.moves}
        self._in_hand = _InHand(view, batch, staged, after)

    def _finish(self) -> None:
        """See to it that nothing is in hand. Raises _Reassigned if that waited past a rebalance."""
        in_hand, self._in_hand = self._in_hand, None
        if in_hand is None:
            return
        view, batch = in_hand.view, in_hand.batch
        with self._about(batch):
            try:
                with nullcontext() if self._traces is None else self._traces.commit(view.name):
                    self._patiently("database", self._merging.finish)
            except Fenced as fenced:
                # Somebody else merged it, or an answer to our own commit was lost: look where the view is now.
                get_logger(STAGE).info("fenced: the offset was moved by another instance", place=str(fenced))
                self._meters.fenced(view)
                self._reader.moved = True
                self._decoded.clear()
                return
        self.stored.update(in_hand.after)
        self._meters.merged(view, batch, in_hand.staged)
        self._count_decoded()

    def _count_decoded(self) -> None:
        """Count the batches that are in all of their views."""
        for batch, began in self._decoded:
            self._lag.merged(batch)
            self._meters.batch(batch, time.monotonic() - began)
        self._decoded.clear()

    def _tick(self) -> None:
        self._reader.commit(self._positions())
        self._reader.check_broker()
        self._check_builds()
        now = self._clock()
        positions, lag = self._positions(), 0
        for (name, partition), next_ in positions.items():
            end = self._reader.known_end((name, partition))
            if end is not None:
                topic, events = self._full_names[name].name, max(0, end - next_)
                lag += events
                seconds = self._lag.seconds(topic, partition, events, time.time())
                self._meters.lag(topic, partition, next_, events, seconds)
        self._health.reached(positions, lag)
        if now >= self._next_check:
            self._next_check = now + CHECK_EVERY_S
            try:
                if not self._settings.embedded:
                    self._check_topics()
                self._check_offsets()
            except Unavailable as error:
                get_logger(STAGE).debug("topics and offsets can't be checked now", why=str(error))
        self._next_tick = now + self._settings.commit_interval_s

    def _positions(self) -> dict[Partition, int]:
        """Return how far all views of each of our partitions are."""
        return {
            partition: min(self.stored[place].next if place in self.stored else 0 for place in self._places(partition))
            for partition in self._reader.assigned
        }

    def _places(self, partition: Partition) -> list[Place]:
        topic = self._full_names[partition[0]]
        return [Place(view.name, topic.name, partition[1]) for view in views_of(self._views, topic)]

    def _check_builds(self) -> None:
        """Look positions up anew if a view was rebuilt or rolled back. Raises ProtectiveStop if it was to other SQL."""
        try:
            with self._store.snapshot() as transaction:
                found = follow(transaction, self._views, self._version)
        except Unavailable as error:
            get_logger(STAGE).debug("the builds of the views can't be checked now", why=str(error))
            return
        if self.live and found != self.live:
            moved = {view: version_name(found[view]) for view in found if found[view] != self.live[view]}
            get_logger(STAGE).info("views were swapped: goes on with their new tables", tables=moved)
            self._reader.moved = True

    def _check_offsets(self) -> None:
        """Look positions up anew if the database no longer says what we believe: it was set back, say, to a backup.

        Where records come, the compare-and-set finds that out. Where none come, nobody else would.
        """
        found = self._load([view.name for view in self._views])
        ours = [place for partition in self._reader.assigned for place in self._places(partition)]
        if any(found.get(place) != self.stored.get(place) for place in ours):
            get_logger(STAGE).warning("the database was changed by somebody else: positions are looked up anew")
            self._reader.moved = True

    def _current_ids(self) -> dict[str, str]:
        known = {topic.name: topic for topic in self._topics} | {name: BY_NAME[name] for name in self._sources}
        return self._ask_ids(self._settings, known.values())

    def _check_topics(self) -> None:
        """Raise ProtectiveStop if a topic is no longer the one that we began with."""
        try:
            current = self._current_ids()
        except Unavailable:
            raise
        except PenstockError as error:
            raise ProtectiveStop(f"{error}; it was there when we began: its records are lost") from None
        for name, known in self._topic_ids.items():
            if current[name] != known:
                raise ProtectiveStop(
                    f"topic {name} was recreated: its id is {current[name]}, it was {known} when we began: "
                    "its numbers can't be continued: start a new PENSTOCK_PIPELINE_VERSION"
                )

    def _await(self, part: str, work: Callable[[], T]) -> T:
        return wait_for(part, work, health=self._health, stopping=self._stopping)

    def _patiently(self, part: str, work: Callable[[], T]) -> T:
        """Return what ``work()`` returns; while its part is away, answer the broker and try again, for ever.

        Raises _Reassigned if the partitions move meanwhile, and GaveUpWaiting when the stage is stopped.
        """
        try:
            return work()
        except Unavailable as error:
            self._health.away(part, str(error))
            get_logger(STAGE).warning(f"{part} is away: held", why=str(error))
        assigned = self._reader.assigned

        def attempt() -> T:
            self._reader.hold()
            if self._reader.assigned != assigned:
                raise _Reassigned
            return work()

        try:
            return self._await(part, attempt)
        except _Reassigned:
            self._health.here(part)
            raise
