"""The jobs in Quix Streams: a streaming data frame, tumbling windows with a grace, closed windows to a topic.

Orders are grouped by country, which sends each through a repartition topic. State is its RocksDB with a changelog.
"""

from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Min, Sum
from quixstreams.models.serializers import Deserializer

from bench.peers.task import GRACE_MS, MINUTE_MS, Stopwatch, Task, decoder, say


class Avro(Deserializer):  # type: ignore[misc]  # Quix lives in an environment of its own
    """An event's time, group and scaled value. (The stock Avro deserializer knows one schema a topic.)"""

    def __init__(self, task: Task, watch: Stopwatch) -> None:
        super().__init__()
        self._decode = decoder(task)
        self._watch = watch

    def __call__(self, value: bytes, ctx: Any) -> dict[str, Any]:
        """Return them by name; of a heartbeat, no group."""
        self._watch.begin()
        at_ms, group, scaled = self._decode(value) or (0, None, 0)
        return {"at": at_ms, "group": group, "value": scaled}


class Progress:
    """Counts what was processed, to stop when all was."""

    def __init__(self, expected: int) -> None:
        self._left = expected
        self.app: Application | None = None
        self.late = 0

    def processed(self, topic: str, partition: int, offset: int) -> None:
        """Called by Quix for each message."""
        self._left -= 1
        if not self._left and self.app is not None:
            self.app.stop()

    def count_late(self, *_: Any, **__: Any) -> bool:
        """Called by Quix for each late event; False keeps it from logging them."""
        self.late += 1
        return False


def run(task: Task) -> None:
    """Read the topic to its end."""
    watch = Stopwatch()
    regrouped = task.records - task.heartbeats if task.job == "orders" else 0
    progress = Progress(task.records + regrouped)
    app = progress.app = Application(
        broker_address=task.broker,
        consumer_group=task.group,
        auto_offset_reset="earliest",
        consumer_extra_config={"fetch.queue.backoff.ms": 10},
        state_dir=task.folder,
        loglevel="WARNING",
        on_message_processed=progress.processed,
    )
    topic = app.topic(
        task.topic, value_deserializer=Avro(task, watch), timestamp_extractor=lambda value, *_: value["at"]
    )
    out = app.topic(task.out, key_serializer="bytes")
    frame = app.dataframe(topic)
    frame = frame.filter(lambda event: event["group"] is not None)
    if task.job == "orders":
        frame = frame.group_by("group", key_serializer="str", key_deserializer="bytes")
    windows = frame.tumbling_window(MINUTE_MS, GRACE_MS, on_late=progress.count_late)
    measures = {"count": Count(), "sum": Sum("value"), "min": Min("value"), "max": Max("value")}
    chosen = {name: measures[name] for name in (("count", "sum") if task.job == "orders" else measures)}
    closed = windows.agg(**chosen).final()
    closed = closed.apply(_row, metadata=True)
    closed.to_topic(out)
    app.run()
    watch.touch()
    watch.end()
    say("told", late=progress.late)


def _row(window: dict[str, Any], key: bytes, *_: Any) -> dict[str, Any]:
    measures = {name: value for name, value in window.items() if name not in {"start", "end"}}
    return {"pane": window["start"], "key": key.decode(), **measures}


if __name__ == "__main__":
    run(Task.from_environment())
