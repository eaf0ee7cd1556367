"""The folds of one process: batches in, messages and commit points out.

Lives on Faust's main loop. Knows generations: what an older one still brings is dropped and never committed.
"""

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from penstock.avro import Decoded, Decoder
from penstock.errors import ExitCode, PenstockError, ProtectiveStop, Unavailable
from penstock.failpoints import failpoint
from penstock.frontier import Frontier
from penstock.health import Health
from penstock.log import about_batch, get_logger
from penstock.metrics import METRICS, Metric
from penstock.settings import Settings
from penstock.topics import SOURCES
from penstock.waiting import wait_for
from processors.consumer import Batch, Partition
from processors.fates import longest_run
from processors.fold import PartitionFold, Records, Step
from processors.gauges import Gauges
from processors.outbox import Letter, Origin, Outbox, Outgoing
from processors.probes import newest_probe
from processors.restore import Restored
from processors.sender import Sender
from processors.stall import Backlog
from processors.stretch import Stretch
from processors.together import Together

if TYPE_CHECKING:
    from processors.traces import TracedBatch, Traces

RESULTS_AT_ONCE = 10_000
"""Rows that are encoded before the first of them is handed over."""

Points = Mapping[Partition, tuple[int, str]]
"""What to commit by partition: the offset ``R`` and the frontier as metadata."""


class Worker:
    """Folds the partitions that are assigned to this process. ``elsewhere`` runs what waits for long."""

    def __init__(  # noqa: PLR0913  # its parts
        self,
        settings: Settings,
        decoders: Mapping[str, Decoder],
        outbox: Outbox,
        sender: Sender,
        health: Health,
        gauges: Gauges,
        metrics: Sequence[Metric] = METRICS,
        elsewhere: Callable[..., Awaitable[Any]] = asyncio.to_thread,
        traces: "Traces | None" = None,
    ) -> None:
        self.health = health
        self.backlog = Backlog(health)
        self._settings = settings
        self._names = {topic.full_name(settings): topic.name for topic in SOURCES}
        self._decoders = decoders
        self._outbox = outbox
        self._sender = sender
        self._gauges = gauges
        self._metrics = metrics
        self._elsewhere = elsewhere
        self._traces = traces
        self._generation = 0
        self._folds: dict[Partition, PartitionFold] = {}
        self._reached: dict[Partition, int] = {}
        self._origins: dict[Partition, Origin] = {}
        self._commit_points: dict[Partition, tuple[int, Frontier]] = {}
        self._committed: dict[Partition, str] = {}
        self._lag: dict[Partition, int] = {}
        self._dead_in_a_row: dict[Partition, int] = {}
        self._probes: dict[Partition, int] = {}
        self._unflushed = False

    # Generations

    def begin(self, generation: int, restored: Mapping[Partition, Restored]) -> None:
        """Start the folds of a new generation from their frontiers."""
        self._generation = generation
        for tp, found in restored.items():
            name = self._names[tp[0]]
            metrics = [metric for metric in self._metrics if metric.topic == name]
            self._folds[tp] = PartitionFold(metrics, found.frontier, skip_torn_panes=found.skip_torn_panes)
            self._reached[tp] = found.read_from
            self._origins[tp] = Origin(name, found.frontier.topic_id, tp[1])
            self._gauges.assigned(name, tp[1], found.frontier, found.read_from)
        self.health.started()
        get_logger("processors").info(
            "assigned", generation=generation, partitions=[f"{topic}[{partition}]" for topic, partition in restored]
        )

    def drop_all(self) -> None:
        """Forget all state: whoever owns the partitions next refolds it."""
        for topic, partition in self._folds:
            self._gauges.revoked(self._names[topic], partition)
        self._dead_in_a_row.clear()
        self._probes.clear()
        self.backlog.forget()
        if self._traces is not None:
            self._traces.forget()
        for state in (self._folds, self._reached, self._origins, self._commit_points, self._committed, self._lag):
            state.clear()

    # Batches

    async def process(self, batch: Batch) -> None:
        """Fold a batch and hand what it brings to the sender. Its commit point is known only after."""
        tp = (batch.topic, batch.partition)
        fold = self._folds.get(tp)
        if batch.generation != self._generation or fold is None:
            return
        stretch = batch.records
        offsets = f"[{stretch.offsets[0]}, {stretch.offsets[-1] + 1})"
        with about_batch(self._names[tp[0]], tp[1], offsets, after_errors=True):
            if self._traces is None:
                await self._process(tp, fold, batch)
                return
            with self._traces.batch(tp[0], self._origins[tp], stretch) as traced:
                await self._process(tp, fold, batch, traced)

    async def _process(
        self, tp: Partition, fold: PartitionFold, batch: Batch, traced: "TracedBatch | None" = None
    ) -> None:
        began = time.perf_counter()
        self._check_chain(tp, batch)
        stretch = batch.records
        below = bisect_left(stretch.offsets, fold.refold_until)
        if below:
            records = await self._records(tp, stretch[:below])
            if self._folds.get(tp) is not fold:
                return
            fold.refold(records)
        if below < len(stretch):
            together = None if below else batch.together
            await self._step(tp, fold, stretch[below:] if below else stretch, together, traced)
        if self._folds.get(tp) is not fold:  # all state was dropped while the registry was awaited
            return
        self.backlog.folded(tp, stretch.offsets[-1] + 1, len(stretch))
        self._lag[tp] = max(batch.log_end - fold.position, 0)
        self._gauges.batch(self._origins[tp], fold, len(stretch), time.perf_counter() - began)
        self._gauges.lag(self._origins[tp], self._lag[tp], stretch.appended_ms[-1])

    def _check_chain(self, tp: Partition, batch: Batch) -> None:
        if batch.follows != self._reached[tp]:
            raise ProtectiveStop(
                f"{tp[0]}[{tp[1]}]: a batch that follows offset {batch.follows} came when {self._reached[tp]} was "
                "reached: one was lost on the way; this is a bug, a restart goes on from the last commit"
            )
        self._reached[tp] = batch.records.offsets[-1] + 1

    async def _step(
        self,
        tp: Partition,
        fold: PartitionFold,
        stretch: Stretch,
        together: Together | None,
        traced: "TracedBatch | None",
    ) -> None:
        records = await self._records(tp, stretch, together)
        if self._folds.get(tp) is not fold:
            return
        step = fold.step(records)
        self._limit_dead_letters(tp, step, len(stretch))
        if self._traces is not None and traced is not None:
            self._traces.settled(traced, step, records, self._origins[tp])
        self._send(self._outgoing(self._origins[tp], fold, step, stretch))
        self._commit_points[tp] = (fold.restart_offset, fold.frontier)
        probe = newest_probe(records)
        if probe is not None:
            self._probes[tp] = max(probe, self._probes.get(tp, probe))
        self._gauges.step(self._origins[tp], step)

    async def _records(self, tp: Partition, stretch: Stretch, together: Together | None = None) -> Records:
        decoder = self._decoders[self._names[tp[0]]]
        try:
            decoded = decoder.decode(stretch.values) if together is None else together.decoded(tp, decoder)
        except Unavailable:
            decoded = await self._elsewhere(self._decode_when_back, decoder, stretch.values)
        return Records(stretch.offsets, stretch.appended_ms, decoded)

    def _decode_when_back(self, decoder: Decoder, values: list[bytes | None]) -> Decoded:
        return wait_for("registry", lambda: decoder.decode(values), health=self.health)

    def _outgoing(
        self, origin: Origin, fold: PartitionFold, step: Step, stretch: Stretch
    ) -> Iterable[Outgoing]:
        if step.late is not None:
            yield self._outbox.late(step.late, _letters(stretch, step.late["_index"]), origin)
        if step.dead:
            letters = _letters(stretch, (rejection.position for rejection in step.dead))
            yield self._outbox.dead(step.dead, letters, origin)
        for metric, rows in step.final:
            yield from self._results(metric, rows, origin, fold.position, final=True)

    def _results(
        self, metric: Metric, rows: pl.DataFrame, origin: Origin, next_offset: int, *, final: bool
    ) -> Iterable[Outgoing]:
        """Encode a slice after the other, each when the one before it was handed over: memory stays bounded."""
        for part in rows.iter_slices(RESULTS_AT_ONCE):
            yield self._outbox.results(metric, part, origin, next_offset, final=final)

    def _limit_dead_letters(self, tp: Partition, step: Step, count: int) -> None:
        """Stop at too many dead letters in a row: then it is the producer or this build that is wrong, not a record."""
        positions = [rejection.position for rejection in step.dead]
        longest, self._dead_in_a_row[tp] = longest_run(positions, count, self._dead_in_a_row.get(tp, 0))
        limit = self._settings.max_dead_letters_in_a_row
        if longest >= limit:
            raise ProtectiveStop(
                f"{tp[0]}[{tp[1]}]: {longest} records in a row can't be used, the last because: "
                f"{step.dead[-1].detail}; mend the producer or raise PENSTOCK_MAX_DEAD_LETTERS_IN_A_ROW (now {limit})"
            )

    def _send(self, outgoing: Iterable[Outgoing]) -> None:
        for topic, messages in outgoing:
            if self._traces is None:
                self._sender.send(topic, messages)
            else:
                self._sender.send(topic, messages, self._traces.headers(topic, messages))
            self._unflushed = True

    def send_changed(self) -> bool:
        """Send early results of what changed, nothing while catching up; return if there were any."""
        any_sent = False
        for tp, fold in self._folds.items():
            catching_up = self._lag.get(tp, 0) > self._settings.fetch_batch_records
            if catching_up or not fold.complete:
                continue
            origin = self._origins[tp]
            for metric, rows in fold.changed():
                self._send(self._results(metric, rows, origin, fold.position, final=False))
                any_sent = True
                self._gauges.sent(metric.results, len(rows), final=False)
            # Only behind the results of all before it: who sees the probe sees them as well, or soon.
            if tp in self._probes:
                self._send([self._outbox.probe(origin, fold.position, self._probes.pop(tp))])
        if not self.commit_points():
            self._gauges.committed()
        return any_sent

    # Commits

    def commit_points(self) -> Points:
        """Return the commit points that moved. What was sent for them is handed over, not yet acknowledged."""
        points = {tp: (offset, frontier.encode()) for tp, (offset, frontier) in self._commit_points.items()}
        return {tp: point for tp, point in points.items() if point[1] != self._committed.get(tp)}

    async def commit(
        self, flush: Callable[[], Awaitable[None]], commit: Callable[[Points], Awaitable[bool]]
    ) -> bool:
        """Commit what is folded; return if something was, and the broker took it.

        The order is the rule: take the commit points, wait until all that was sent is acknowledged, commit these
        points. What is folded meanwhile is not among them.
        """
        points = self.commit_points()
        if not points:
            return False
        sent, self._unflushed = self._unflushed, False
        if sent:
            failpoint("processors.after-send")
        await flush()
        if sent:
            failpoint("processors.after-flush")
        taken = await commit(points)
        if taken:
            self._committed |= {tp: metadata for tp, (_, metadata) in points.items() if tp in self._folds}
            self._gauges.committed()
            failpoint("processors.after-commit")
        return taken

    # The end

    def fail(self, error: BaseException) -> None:
        """End the process at once: nothing more is sent or committed; a restart goes on from the last commit."""
        if isinstance(error, PenstockError):
            get_logger("processors").error("stopped", why=str(error))
            code = error.exit_code
        else:
            get_logger("processors").error("failed", exc_info=error)
            code = ExitCode.FAILED
        os._exit(code)


def _letters(stretch: Stretch, positions: Iterable[int]) -> dict[int, Letter]:
    return {position: stretch.letter(position) for position in positions}
