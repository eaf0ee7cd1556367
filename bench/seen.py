"""When rows of ``order_metrics`` are seen from outside: on the results topics, and in a SQLite view.

Both watch from a thread of their own and note the time after they have a row, never before.
"""

import sqlite3
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import polars as pl
from confluent_kafka import TopicPartition

from bench.answers import ends, reader
from penstock.avro import INDEX, Decoder
from penstock.contracts import load_contracts
from penstock.schema_ids import schema_ids
from penstock.settings import Settings
from penstock.topics import BY_NAME, PARTITIONS

TOPICS = ("order-metrics", "order-metrics-final")
KEYS = ("source_partition", "country", "pane_start")
"""What a row of the metric is about."""

_SEEN = "seen_ms"
_VIEW_EVERY_S = 0.003
_ROWS = (
    "SELECT source_partition, country, window_start, next_offset FROM order_metrics_v1 "
    "WHERE window_start >= (SELECT max(window_start) FROM order_metrics_v1) - 120000"
)


class _Watching:
    """Runs ``_watch`` in a thread while the block runs. What ends it early is raised at the end of the block."""

    def __init__(self) -> None:
        self.stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise self._error

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:
            self._error = error

    def _watch(self) -> None:
        raise NotImplementedError


class ResultsWatch(_Watching):
    """Reads the results topics from their beginning, as a consumer with librdkafka's default settings does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._values: dict[str, list[bytes | None]] = {}
        self._times: dict[str, list[tuple[int, float]]] = {}

    def _watch(self) -> None:
        consumer = reader(self._settings, "bench-seen")
        names = [BY_NAME[name].full_name(self._settings) for name in TOPICS]
        self._values, self._times = {name: [] for name in names}, {name: [] for name in names}
        consumer.assign([TopicPartition(name, partition, 0) for name in names for partition in range(PARTITIONS)])
        while not self.stopping.is_set():
            first = consumer.poll(0.1)
            if first is None:
                continue
            messages = [first, *consumer.consume(5_000, 0)]
            now = time.time() * 1_000
            for message in messages:
                if message.error() is not None:
                    raise RuntimeError(f"the results can't be read: {message.error()}")
                name = str(message.topic())
                self._values[name].append(message.value())
                self._times[name].append((message.timestamp()[1], now))
        consumer.close()

    def rows(self) -> pl.DataFrame:
        """Return the rows seen: :data:`KEYS`, ``next_offset``, ``sent_ms`` (appended by the broker), ``seen_ms``."""
        frames = []
        for name in TOPICS:
            full = BY_NAME[name].full_name(self._settings)
            ids = schema_ids(self._settings)
            decoder = Decoder(BY_NAME[name], load_contracts(), ids, self._settings.max_record_bytes)
            rows = decoder.decode(self._values[full]).records["OrderMetrics"]
            times = pl.DataFrame(self._times[full], schema={"sent_ms": pl.Int64, _SEEN: pl.Float64}, orient="row")
            keys = rows.select(pl.col("source_partition", "pane_start", "next_offset").cast(pl.Int64), "country")
            frames.append(keys.hstack(times[rows[INDEX]]))
        return pl.concat(frames)


class ViewWatch(_Watching):
    """Asks a SQLite database for the view's rows whenever another connection has changed it."""

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database
        self.tables = False
        """Whether the view has its tables."""
        self._newest: dict[tuple[int, str, int], int] = {}
        self._seen: list[tuple[int, str, int, int, float]] = []

    def merged(self, settings: Settings) -> bool:
        """Whether the view has all results that there are."""
        consumer = reader(settings)
        there = sum(sum(ends(consumer, BY_NAME[name].full_name(settings)).values()) for name in TOPICS)
        consumer.close()
        sql = "SELECT coalesce(sum(next), 0) FROM offsets WHERE view = 'order_metrics'"
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30)
        try:
            return bool(connection.execute(sql).fetchone()[0] == there)
        finally:
            connection.close()

    def _watch(self) -> None:
        while not self._database.exists():
            if self.stopping.wait(0.1):
                return
        connection = sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=30, isolation_level=None)
        version = None
        while not self.stopping.wait(_VIEW_EVERY_S):
            now = connection.execute("PRAGMA data_version").fetchone()[0]
            if now != version and self._look(connection):
                version = now
        connection.close()

    def _look(self, connection: sqlite3.Connection) -> bool:
        try:
            rows = connection.execute(_ROWS).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return False
            raise
        at, self.tables = time.time() * 1_000, True
        for row in rows:
            if row[3] > self._newest.get(row[:3], -1):
                self._newest[row[:3]] = row[3]
                self._seen.append((*row, at))
        return True

    def rows(self) -> pl.DataFrame:
        """Return the rows seen: :data:`KEYS`, ``next_offset``, ``seen_ms``."""
        keys = dict(zip(KEYS, (pl.Int64, pl.String, pl.Int64), strict=True))
        return pl.DataFrame(self._seen, schema={**keys, "next_offset": pl.Int64, _SEEN: pl.Float64}, orient="row")


def first_behind(events: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``events`` (:data:`KEYS`, ``offset``) with the first of ``rows`` that counts each; nulls without one.

    It is the one of the event's keys with the smallest ``next_offset`` beyond the event's offset.
    """
    wanted = events.with_columns(pl.col("offset") + 1).sort("offset")
    first = rows.sort("next_offset", _SEEN).unique([*KEYS, "next_offset"], keep="first", maintain_order=True)
    return wanted.join_asof(
        first.with_columns(pl.col("next_offset").alias("_next")),
        left_on="offset", right_on="_next", by=list(KEYS), strategy="forward", check_sortedness=False,
    )  # fmt: skip
