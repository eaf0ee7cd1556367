"""Every batch of a generation goes through Faust to the fold, once and in order, however often the group rebalances.

The real app and transport on a log that is scripted by a seed: partitions come and go, batches follow at once.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import faust
import pytest
from faust.transport.consumer import Consumer as FaustConsumer

from penstock.health import Health
from penstock.settings import Settings, load_settings
from penstock.topics import SOURCES
from processors.app import connect, unconnected
from processors.consumer import Batch, LogConsumer, Partition
from processors.stall import Backlog
from processors.transport import Transport

PATIENCE_S = 60.0
BATCHES = 400
QUICK_SEEDS = range(5)
MORE_SEEDS = range(5, 65)


@dataclass
class Offsets:
    """The records of a batch, by their offsets only."""

    offsets: range

    def __len__(self) -> int:
        return len(self.offsets)


class ScriptedLog:
    """Stands for :class:`LogConsumer`: what a fetch brings, and when the group rebalances, is told by a seed."""

    def __init__(self, seed: int, partitions: tuple[Partition, ...]) -> None:
        self._random = random.Random(seed)
        self._partitions = partitions
        self._next: tuple[Partition, ...] = ()
        self._handed_out: dict[Partition, int] = {}
        self.committed = dict.fromkeys(partitions, 0)
        self.generation = 0
        self.rebalanced = False
        self.owned: tuple[Partition, ...] = ()
        self.restored: dict[Partition, int] = {}
        self.fetches = 0

    def subscribe(self, _topics: list[str]) -> None:
        self._rebalance(self._partitions)

    def _rebalance(self, partitions: tuple[Partition, ...]) -> None:
        self._next, self.rebalanced = partitions, True

    def fetch(self, _idle_s: float) -> list[Batch]:
        self.fetches += 1
        if not self.rebalanced and self._random.random() < (0.1 if self.owned else 0.4):
            self._rebalance(() if self.owned and self._random.random() < 0.5 else self._partitions)
        if self.rebalanced:
            return []
        return [self._batch(tp) for tp in self.owned if self._random.random() < 0.6]

    def _batch(self, tp: Partition) -> Batch:
        first = self._handed_out[tp]
        end = self._handed_out[tp] = first + self._random.randint(1, 50)
        return Batch(*tp, self.generation, cast("Any", Offsets(range(first, end))), first, end + 1)

    def take_assignment(self) -> int:
        self.rebalanced = False
        self.generation += 1
        self.owned = self._next
        self.restored = {tp: self.committed[tp] for tp in self.owned}
        self._handed_out = dict(self.restored)
        return self.generation

    def commit(self, points: Mapping[Partition, int]) -> bool:
        self.committed.update(points)
        return True

    def log_end(self, _topic: str, _partition: int) -> int:
        return 0

    def close(self) -> None:
        """Leave the group."""


@dataclass
class Folds:
    """Stands for the worker: counts what comes, and notes what does not follow what came before."""

    seed: int
    health: Health = field(default_factory=Health)
    folded: int = 0
    generations: int = 0
    broken: list[tuple[int, Partition, int, int]] = field(default_factory=list)
    failed: Exception | None = None

    def __post_init__(self) -> None:
        self.backlog = Backlog(self.health)
        self._random = random.Random(self.seed)
        self._generation = 0
        self._reached: dict[Partition, int] = {}

    def begin(self, generation: int, restored: Mapping[Partition, int]) -> None:
        self._generation, self._reached = generation, dict(restored)
        self.generations += 1

    def drop_all(self) -> None:
        self._reached.clear()
        self.backlog.forget()

    async def process(self, batch: Batch) -> None:
        tp = (batch.topic, batch.partition)
        if batch.generation != self._generation or tp not in self._reached:
            return
        if batch.follows != self._reached[tp]:
            self.broken.append((batch.generation, tp, self._reached[tp], batch.follows))
        self._reached[tp] = batch.records.offsets[-1] + 1
        self.backlog.folded(tp, self._reached[tp], len(batch.records))
        self.folded += 1
        for _ in range(self._random.choice((0, 0, 1, 5))):
            await asyncio.sleep(0)

    async def commit(self, _flush: Any, commit: Any) -> bool:
        """Commit less than what is folded: the next generation reads again what lies between, as it does for panes."""
        points = {tp: max(reached - 60, 0) for tp, reached in self._reached.items()}
        return bool(points) and bool(await commit(points))

    def send_changed(self) -> bool:
        return False

    def fail(self, error: Exception) -> None:
        self.failed = error


@pytest.fixture
def quick_acks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Faust looks again after up to a second whether nothing is in hand: here at once."""

    async def look_again(_self: FaustConsumer, timeout: float) -> None:
        await asyncio.sleep(timeout / 1000)

    monkeypatch.setattr(FaustConsumer, "_wait_for_ack", look_again)


def connected(settings: Settings, folds: Folds, log: ScriptedLog) -> faust.App:
    app, parts = unconnected(settings), cast("Any", folds)
    sender = cast("Any", SimpleNamespace(flush=lambda: None))
    connect(app, Transport(app, settings, {}, sender, parts, lambda *_: cast("LogConsumer", log)))
    return app


def run(seed: int, batches: int, first: Any = None) -> tuple[Folds, ScriptedLog]:
    """Run the app until so many batches are folded, or one is not there; ``first`` is told of the app and the log."""
    settings = load_settings(embedded=True, early_results_interval_s=0.02)
    partitions = tuple((topic.full_name(settings), number) for topic in SOURCES for number in range(2))
    folds, log = Folds(seed), ScriptedLog(seed, partitions)

    async def until_folded() -> None:
        app = connected(settings, folds, log)
        if first is not None:
            first(app, log)
        await app.start()
        async with asyncio.timeout(PATIENCE_S):
            while folds.folded < batches and not folds.broken and folds.failed is None:
                await asyncio.sleep(0.001)
        await app.stop()

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # where Faust looks for it
    try:
        loop.run_until_complete(until_folded())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return folds, log


def check(folds: Folds) -> None:
    assert folds.failed is None
    assert folds.broken == []
    assert folds.folded >= BATCHES
    assert folds.generations > BATCHES // 50


@pytest.mark.usefixtures("quick_acks")
@pytest.mark.parametrize("seed", QUICK_SEEDS)
def test_no_batch_is_lost_on_its_way_through_faust(seed: int) -> None:
    check(run(seed, BATCHES)[0])


@pytest.mark.slow
@pytest.mark.usefixtures("quick_acks")
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_none_is_lost_in_more_schedules(seed: int) -> None:
    check(run(seed, BATCHES)[0])


@pytest.mark.usefixtures("quick_acks")
def test_nothing_is_fetched_until_faust_has_emptied_its_queues() -> None:
    """Faust resumes a while after the assignment, by emptying its queues: a batch that came before would be lost."""
    early: list[int] = []

    def watch(app: faust.App, log: ScriptedLog) -> None:
        async def resumes_late(*_: Any, **__: Any) -> None:
            before = log.fetches
            for _ in range(200):
                await asyncio.sleep(0)
            early.append(log.fetches - before if log.owned and log.generation > 1 else 0)

        app.on_rebalance_complete.connect(resumes_late)

    check(run(0, BATCHES, watch)[0])
    assert early
    assert set(early) == {0}
