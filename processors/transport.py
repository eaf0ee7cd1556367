"""A Faust transport on librdkafka that hands over whole fetched batches.

Faust does membership callbacks, flow control, agents, the commit loop and the lifecycle. The consumer's position is
ours: partitions are assigned at the offset ``R`` of the committed frontier, commits carry the frontier in their
metadata, and an ack means only *no longer in flight*. Every call on the Kafka consumer is made by Faust's consumer
thread.

Out of scope, and refused when called: tables and changelogs, seeking, the leader assignor, per-partition pause.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

import confluent_kafka
import faust
from faust.transport import base
from faust.transport.consumer import ConsumerThread, ThreadDelegateConsumer
from faust.types import TP, ConsumerMessage

from penstock.health import Health
from penstock.settings import Settings
from processors.consumer import Batch, LogConsumer
from processors.pace import Pace
from processors.restore import Restored
from processors.sender import Sender
from processors.stall import CONSUMER_THREAD
from processors.worker import Points, Worker

IDLE_POLL_S = 0.1
BEAT_EVERY_S = 1.0
SLOW_COMMIT_S = 5.0
"""A commit that takes longer waits for the broker. Meanwhile nobody polls, so the client can't say so itself."""


class BatchSchema(faust.Schema[None, Batch]):
    """Passes a batch through Faust as it is."""

    def loads_key(self, app: Any, message: Any, **_kwargs: Any) -> None:
        """Return nothing: a batch has no key."""

    def loads_value(self, app: Any, message: Any, **_kwargs: Any) -> Batch:
        """Return the batch."""
        batch: Batch = message.value
        return batch


def _refuse(*_args: Any, **_kwargs: Any) -> Any:
    raise NotImplementedError(
        "Penstock's Faust transport has no tables, seeks or topic creation: state is refolded from the log"
    )


class Thread(ConsumerThread):
    """Runs each operation on the Kafka consumer, one at a time, in Faust's consumer thread."""

    consumer: "Consumer"
    transport: "Transport"

    def __init__(self, consumer: "Consumer", **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self.log_consumer: LogConsumer | None = None
        self._beating: asyncio.Future[None] | None = None

    def _opened(self) -> LogConsumer:
        if self.log_consumer is None:
            transport = self.transport
            self.log_consumer = transport.open_log(transport.settings, transport.topic_ids, transport.worker.health)
        return self.log_consumer

    async def on_thread_stop(self) -> None:
        """Leave the group."""
        await super().on_thread_stop()
        if self._beating is not None:
            self._beating.cancel()
        if self.log_consumer is not None:
            self.log_consumer.close()
            self.log_consumer = None

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Join the group."""
        await self.call_thread(self._subscribe, list(topics))

    async def _subscribe(self, topics: list[str]) -> None:
        self._opened().subscribe(topics)
        self._beating = asyncio.ensure_future(self._beat())
        self._joining = asyncio.ensure_future(self._join())

    async def _join(self) -> None:
        """Serve the group until the first assignment: Faust begins to fetch only after it."""
        try:
            while not self.should_stop and self._opened().generation == 0:
                await self._fetch()
                await asyncio.sleep(0)
        except Exception as error:
            self.transport.worker.fail(error)

    async def _beat(self) -> None:
        """Say that this thread runs, until it stops."""
        while not self.should_stop:
            self.transport.worker.health.beat(CONSUMER_THREAD, waits=True)
            await asyncio.sleep(BEAT_EVERY_S)

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Batch]]:
        """Return fetched batches by partition, one each; nothing when a rebalance came in between."""
        batches: Mapping[TP, list[Batch]] = await self.call_thread(self._fetch)
        return batches

    async def _fetch(self) -> Mapping[TP, list[Batch]]:
        consumer = self._opened()
        batches = consumer.fetch(IDLE_POLL_S)
        if consumer.rebalanced:
            await self._rebalance(consumer)
            return {}
        return {TP(batch.topic, batch.partition): [batch] for batch in batches}

    async def _rebalance(self, consumer: LogConsumer) -> None:
        """Tell Faust of partitions revoked and assigned, in this order, then read on from the frontiers."""
        self.app.on_rebalance_start()
        await self.on_partitions_revoked({TP(*tp) for tp in consumer.owned})
        generation = consumer.take_assignment()
        self.consumer.restored = (generation, consumer.restored)
        self.app.consumer_generation_id = generation
        await self.on_partitions_assigned({TP(*tp) for tp in consumer.owned}, generation)

    async def commit(self, tps: Mapping[TP, int]) -> bool:
        """Refuse: a commit without its frontier would be no restart point."""
        raise NotImplementedError("commit_frontiers() commits")

    async def commit_frontiers(self, points: Points) -> bool:
        """Commit ``(R, metadata)`` by partition."""
        away = self.transport.worker.health.away
        slow = asyncio.get_running_loop().call_later(
            SLOW_COMMIT_S, away, "kafka", f"a commit has had no answer for {SLOW_COMMIT_S:.0f} s"
        )
        try:
            committed: bool = await self.call_thread(self._commit, points)
        finally:
            slow.cancel()
        return committed

    async def _commit(self, points: Points) -> bool:
        return self._opened().commit(points)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Change nothing: the assignment already stands at the frontiers."""
        return {}

    def assignment(self) -> set[TP]:
        """Return the partitions that are ours."""
        return set() if self.log_consumer is None else {TP(*tp) for tp in self.log_consumer.owned}

    def highwater(self, tp: TP) -> int:
        """Return the end of a partition's log, as last fetched."""
        return 0 if self.log_consumer is None else self.log_consumer.log_end(tp.topic, tp.partition)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the ends of the partitions' logs, as last fetched."""
        return {tp: self.highwater(tp) for tp in partitions}

    def topic_partitions(self, topic: str) -> int | None:
        """Return None: Faust asks for its assignor, which is not used."""
        return None

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Return ``partition``: results choose their own."""
        return partition

    def close(self) -> None:
        """Do nothing: the thread closes its consumer when it stops."""

    position = seek_to_beginning = seek_wait = seek = earliest_offsets = create_topic = _refuse


class Consumer(ThreadDelegateConsumer):
    """Faust's consumer, with our commit rule in place of its ack arithmetic."""

    transport: "Transport"
    _thread: Thread
    restored: tuple[int, Mapping[tuple[str, int], Restored]] = (0, {})

    @property
    def worker(self) -> Worker:
        """The folds of this process."""
        return self.transport.worker

    def _new_consumer_thread(self) -> Thread:
        return Thread(self, loop=self.loop, beacon=self.beacon)

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def _to_message(self, tp: TP, record: Batch) -> ConsumerMessage:
        message: ConsumerMessage = ConsumerMessage(
            *tp, record.first_offset, 0.0, 0, [], None, None, None, tp=tp, generation_id=record.generation
        )
        message.value = record  # type: ignore[assignment]  # a batch passes through as it is: see BatchSchema
        return message

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield fetched batches. Goes on polling with nothing assigned: rebalances are served by polling."""
        await asyncio.sleep(self.transport.pace.pause_s())
        if not self.flow_active:
            await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # Faust's own hint is too narrow
        if self.should_stop:
            return
        try:
            batches = await self._thread.getmany(None, timeout)
            self.transport.pace.fetched(batch for (batch,) in batches.values())
            self.worker.backlog.fetched(sum(len(batch.records) for (batch,) in batches.values()))
        except Exception as error:
            self.worker.fail(error)
            raise
        for tp, (batch,) in batches.items():
            yield tp, self._to_message(tp, batch)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the batch in hand finish and commit, then drop all state.

        The flow stops even if nothing was ours: Faust empties its queues when it resumes, and would lose what came.
        """
        self.stop_flow()
        self.app.flow_control.suspend()
        await super().on_partitions_revoked(revoked)
        self.worker.drop_all()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Begin the new generation's folds, then let Faust resume."""
        self.worker.begin(*self.restored)
        await super().on_partitions_assigned(assigned, generation_id)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit by the worker's rule. Faust calls this for one committer at a time."""
        self._acked.clear()
        self._acked_index.clear()
        try:
            return await self.worker.commit(self.transport.flush, self._thread.commit_frontiers)
        except Exception as error:
            self.worker.fail(error)
            raise

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: the fold counts offsets without a record."""

    create_topic = _refuse


class Producer(base.Producer):
    """Faust flushes this when it stops; sending through it is refused."""

    transport: "Transport"

    async def flush(self) -> None:
        """Return when every result that was sent is acknowledged; end the process if one never will be."""
        try:
            await self.transport.flush()
        except Exception as error:
            self.transport.worker.fail(error)
            raise


class Transport(base.Transport):
    """The transport of one process: its settings, its sender and its folds. ``open_log`` joins the group."""

    Consumer = Consumer
    Producer = Producer
    driver_version = f"penstock on librdkafka {confluent_kafka.libversion()[0]}"

    def __init__(  # noqa: PLR0913  # its parts
        self,
        app: faust.App,
        settings: Settings,
        topic_ids: Mapping[str, str],
        sender: Sender,
        worker: Worker,
        open_log: Callable[[Settings, Mapping[str, str], Health], LogConsumer] = LogConsumer,
    ) -> None:
        super().__init__([], app)
        self.settings = settings
        self.topic_ids = topic_ids
        self.sender = sender
        self.worker = worker
        self.open_log = open_log
        self.pace = Pace(settings.early_results_interval_s)

    async def flush(self) -> None:
        """Return when every message that was sent is acknowledged. Raises ProtectiveStop if one never will be."""
        await asyncio.get_running_loop().run_in_executor(None, self.sender.flush)
