"""The processes: the real stages, each with clients of the in-memory broker."""

import threading
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

from consumers.materialization import Materialization, topics_of
from consumers.reader import Reader
from consumers.run import group_of
from consumers.sqlite_store import SqliteStore
from consumers.view_files import View
from penstock.health import Health
from penstock.settings import Settings
from penstock.topics import BY_NAME, SOURCES, TOPICS
from penstock.waiting import wait_for
from processors.consumer import Batch, LogConsumer, Partition
from processors.lineage import check_lineage
from processors.sender import Sender
from processors.worker import Points, Worker
from simulation import codec
from simulation.sim_consumer import SimConsumer
from simulation.sim_producer import SimProducer
from simulation.stand_ins import Later, Silent, SimDecoder, Task, elsewhere, ran_on
from simulation.store import SimStore
from simulation.world import Actor, World

BUFFERED_BATCHES = 8


class Processor(Actor):
    """A processor. What Faust does between consumer, worker and commits is done here in any order it might take."""

    def __init__(self, world: World, name: str, settings: Settings) -> None:
        super().__init__(world, name)
        self._settings = settings
        self._sender = 0
        self._tasks: list[Task | None] = [None, None]

    def body(self) -> None:
        """Live once: as processors.app puts the parts together."""
        world, health = self.world, Health()
        current = wait_for("kafka", lambda: world.topic_ids(self._settings, TOPICS), health=health)
        if "topic recreated" in world.plan.rates:
            ids, client = codec.ids(), partial(SimConsumer, world, self)
            check = partial(check_lineage, self._settings, world.plan.metrics, codec.contracts(), ids, current, client)
            wait_for("kafka", check, health=health)
        self._sender = world.new_member()
        sender = Sender(self._settings, health, lambda _config: SimProducer(world, self._sender))
        decoders: Any = {topic.name: SimDecoder(world, topic.name) for topic in SOURCES}
        silent: Any = Silent()
        self.worker = Worker(
            self._settings, decoders, codec.outbox(), sender, health, silent, world.plan.metrics, elsewhere
        )
        self._flush = sender.flush
        self.consumer = LogConsumer(
            self._settings, {topic.name: current[topic.name] for topic in SOURCES}, health,
            partial(SimConsumer, world, self), world.topic_ids, world.seconds,
        )  # fmt: skip
        self._inbox: deque[Batch] = deque()
        self._tasks = [None, None]
        self.consumer.subscribe([BY_NAME[world.plan.topic].full_name(self._settings)])
        while not world.chance("stop", "between steps"):
            self._step()
            world.pause("between steps")
        self._commit_now()
        self.consumer.close()

    def _current_ids(self) -> dict[str, str]:
        self.world.pause("asking for topic ids")
        return self.world.topic_ids(self._settings, BY_NAME.values())

    def _step(self) -> None:
        draw = self.world.rng.random()
        if draw < 0.2:
            self._fetch()
        elif draw < 0.55:
            self._process()
        elif draw < 0.8:
            self._commit()
        elif draw < 0.8 + 0.2 * self.world.plan.eager:
            self.worker.send_changed()

    def _fetch(self) -> None:
        if len(self._inbox) >= BUFFERED_BATCHES:
            return
        batches = self.consumer.fetch(0.1)
        if self.consumer.rebalanced:
            self._rebalance()
        else:
            self._inbox.extend(batches)

    def _process(self) -> None:
        if self._tasks[0] is None and self._inbox:
            self._tasks[0] = self.worker.process(self._inbox.popleft())
            self.world.counts["batches folded"] += 1
        self._tasks[0] = ran_on(self._tasks[0])

    def _commit(self) -> None:
        if self._tasks[1] is None:
            self._tasks[1] = self.worker.commit(self._flushed, self._committed)
        self._tasks[1] = ran_on(self._tasks[1])

    def _commit_now(self) -> None:
        while self._tasks[1] is not None:
            self._commit()
        self._commit()
        while self._tasks[1] is not None:
            self._commit()

    async def _flushed(self) -> None:
        if self.world.rng.random() < 0.5:
            await Later()
        self._flush()
        while self.world.rng.random() < 0.5:
            await Later()

    async def _committed(self, points: Points) -> bool:
        if self.world.rng.random() < 0.5:
            await Later()
        return self.consumer.commit(points)

    def _rebalance(self) -> None:
        """Do as the transport does: let what is in hand end and commit, drop all, begin anew. Any of the first may
        fail to happen in time."""
        rng = self.world.rng
        if rng.random() < 0.5:
            self._inbox.clear()
        if rng.random() < 0.5:
            self._tasks[0] = ran_on(self._tasks[0])
        if rng.random() < 0.7:
            self._commit_now()
        self.worker.drop_all()
        self.world.pause("revoked", 2)
        generation = self.consumer.take_assignment()
        self.worker.begin(generation, self.consumer.restored)
        self.world.counts["assignments"] += 1

    def clean_up(self, *, crashed: bool) -> None:
        """See :class:`Actor`."""
        for task in self._tasks:
            if task is not None:
                task.close()
        self._tasks = [None, None]
        if crashed:
            self.world.network.orphan(self._sender)

    def owned(self) -> tuple[Partition, ...]:
        """Return what is assigned to it."""
        return self.consumer.owned if self.member else ()

    def settled(self) -> bool:
        """Say if all that is assigned is folded, sent and committed."""
        if not self.member or self._inbox or self._tasks != [None, None] or self.worker.commit_points():
            return False
        return all(self.worker._reached.get(place) == self.world.broker.log(place).end for place in self.consumer.owned)


class Keeper(Actor):
    """A process that keeps views."""

    def __init__(self, world: World, name: str, settings: Settings, views: tuple[View, ...], path: Path) -> None:
        super().__init__(world, name)
        self._settings, self._views, self._path = settings, views, path
        self._store: SimStore | None = None

    def body(self) -> None:
        """Live once: as consumers.run puts the parts together."""
        world, health = self.world, Health()
        self._store = SimStore(world, SqliteStore(self._path, busy_timeout_s=0))
        client: Any = partial(SimConsumer, world, self)
        self.reader = Reader(
            self._settings, topics_of(self._views), group_of(self._settings, self._views, ()), health, client
        )
        decoders: Any = {topic.name: SimDecoder(world, topic.name) for topic in topics_of(self._views)}
        silent: Any = Silent()
        self.kept = Materialization(
            self._settings, self._views, self._store, self.reader, decoders=decoders, meters=silent, health=health,
            stopping=threading.Event(), current_ids=world.topic_ids, clock=world.seconds,
        )  # fmt: skip
        self.kept._lag = silent
        self.kept.begin(swap=False)
        while not world.chance("stop", "between steps"):
            self.kept.step()
            world.pause("between steps")
        self.reader.commit(self.kept._positions())
        self.reader._consumer.close()

    def clean_up(self, *, crashed: bool) -> None:
        """See :class:`Actor`."""
        if self._store is not None:
            self._store.close()

    def caught_up(self) -> bool:
        """Say if its views hold all that is in the logs of what is assigned."""
        group = self.world.broker.groups.get(group_of(self._settings, self._views, ()))
        if group is None or self.member not in group.members or self.reader.moved:
            return False  # evicted in its sleep, it does not know yet
        ends = {place: self.world.broker.log(place).end for place in self.reader.assigned}
        return self.kept._positions() == ends
