"""The jobs in Bytewax: a Kafka source, an event clock a key, tumbling windows, a stream of late events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.run import cli_main

from bench.peers.task import GRACE_MS, MINUTE_MS, Stopwatch, Task, answer, decoder, say

Event = tuple[int, str, int]
Totals = tuple[int, int, int, int]
BATCH = 1_000
START = datetime(1970, 1, 1, tzinfo=UTC)


class Flow:
    """The dataflow of a task, and how many events it called late."""

    def __init__(self, task: Task, watch: Stopwatch) -> None:
        self.late = 0
        self._task, self._watch = task, watch

    def build(self) -> Dataflow:
        """Return it."""
        flow = Dataflow("peer")
        brokers = [self._task.broker]
        source = kafka.input("in", flow, brokers=brokers, topics=[self._task.topic], tail=False, batch_size=BATCH)
        decode = decoder(self._task)

        def decoded(message: Any) -> Event | None:
            self._watch.begin()
            return decode(message.value)

        events = op.filter_map("decode", source.oks, decoded)
        keyed = op.key_on("by-group", events, lambda event: event[1])
        clock = win.EventClock(
            ts_getter=lambda event: datetime.fromtimestamp(event[0] / 1_000, UTC),
            wait_for_system_duration=timedelta(milliseconds=GRACE_MS),
        )
        windower = win.TumblingWindower(length=timedelta(milliseconds=MINUTE_MS), align_to=START)
        windows = win.fold_window("window", keyed, clock, windower, _nothing, _add, _merge, ordered=False)
        op.inspect("late", op.map("count-late", windows.late, self._count_late), lambda *_: None)
        rows = op.map("row", windows.down, _row)
        kafka.output("out", rows, brokers=brokers, topic=self._task.out)
        return flow

    def _count_late(self, late: Any) -> Any:
        self.late += 1
        return late


def _nothing() -> Totals:
    return 0, 0, 1 << 62, -(1 << 62)


def _add(totals: Totals, event: Event) -> Totals:
    count, total, least, most = totals
    value = event[2]
    return count + 1, total + value, min(least, value), max(most, value)


def _merge(one: Totals, other: Totals) -> Totals:
    return one[0] + other[0], one[1] + other[1], min(one[2], other[2]), max(one[3], other[3])


def _row(closed: tuple[str, tuple[int, Totals]]) -> KafkaSinkMessage[bytes, bytes]:
    key, (window, totals) = closed
    return KafkaSinkMessage(key.encode(), answer(window * MINUTE_MS, key, *totals))


def run(task: Task) -> None:
    """Read the topic to its end, with one worker."""
    watch = Stopwatch()
    flow = Flow(task, watch)
    cli_main(flow.build(), workers_per_process=1)
    watch.touch()
    watch.end()
    say("told", late=flow.late)


if __name__ == "__main__":
    run(Task.from_environment())
