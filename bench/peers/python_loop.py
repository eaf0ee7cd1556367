"""A loop over confluent-kafka and fastavro: what is written when no framework is wanted.

It keeps a dictionary of windows and closes them when the slowest partition's time, less the grace, has passed them, so
that it is right; it survives no crash: there is no state but the process's own.
"""

from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

from bench.peers.task import GRACE_MS, MINUTE_MS, Stopwatch, Task, answer, decoder, say

BATCH = 10_000
Totals = list[int]


class Windows:
    """Open windows by start and group; time is that of the slowest partition."""

    def __init__(self, partitions: int) -> None:
        self.newest = [0] * partitions
        self.closed_ms = 0
        self.late = 0
        self._open: dict[int, dict[str, Totals]] = {}

    def add(self, partition: int, at_ms: int, key: str, value: int) -> None:
        """Count one event."""
        self.newest[partition] = max(at_ms, self.newest[partition])
        start = at_ms - at_ms % MINUTE_MS
        if start < self.closed_ms:
            self.late += 1
            return
        window = self._open.setdefault(start, {})
        totals = window.get(key)
        if totals is None:
            window[key] = [1, value, value, value]
            return
        totals[0] += 1
        totals[1] += value
        totals[2] = min(totals[2], value)
        totals[3] = max(totals[3], value)

    def close(self, until_ms: int) -> list[tuple[int, str, Totals]]:
        """Return the windows that end by ``until_ms``; they are no longer open."""
        ended = sorted(start for start in self._open if start + MINUTE_MS <= until_ms)
        self.closed_ms = max(self.closed_ms, until_ms - until_ms % MINUTE_MS)
        return [(start, key, totals) for start in ended for key, totals in self._open.pop(start).items()]


def run(task: Task) -> None:
    """Read the topic to its end."""
    consumer = Consumer({"bootstrap.servers": task.broker, "group.id": task.group, "fetch.queue.backoff.ms": 10})
    producer = Producer({"bootstrap.servers": task.broker, "linger.ms": 10, "queue.buffering.max.messages": 500_000})
    partitions = consumer.list_topics(task.topic, 10).topics[task.topic].partitions
    consumer.assign([TopicPartition(task.topic, number, OFFSET_BEGINNING) for number in partitions])
    windows, decode, watch = Windows(len(partitions)), decoder(task), Stopwatch()
    read = 0
    while read < task.records:
        messages = consumer.consume(BATCH, 0.1)
        if messages:
            watch.begin()
        read += len(messages)
        for message in messages:
            _take(windows, decode, message)
        _send(producer, task.out, windows.close(min(windows.newest) - GRACE_MS))
        watch.touch()
    _send(producer, task.out, windows.close(max(windows.newest) + MINUTE_MS))
    producer.flush()
    watch.touch()
    watch.end()
    say("told", late=windows.late)
    consumer.close()


def _take(windows: Windows, decode: Any, message: Any) -> None:
    if message.error() is not None:
        raise KafkaException(message.error())
    event = decode(message.value())
    if event is not None:
        windows.add(message.partition(), *event)


def _send(producer: Producer, topic: str, closed: list[tuple[int, str, Totals]]) -> None:
    for start, key, totals in closed:
        producer.produce(topic, answer(start, key, *totals), key)
    producer.poll(0)


if __name__ == "__main__":
    run(Task.from_environment())
