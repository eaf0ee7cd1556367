"""What came out, read from the topics, and its comparison with the truth."""

from collections.abc import Mapping
from typing import NamedTuple

import polars as pl
from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.frontier import Frontier
from penstock.kafka import client_config, watermark_offsets
from penstock.metrics import METRICS, Metric
from penstock.schema_ids import schema_ids
from penstock.settings import Settings
from penstock.topics import BY_NAME, PARTITIONS, group_id

_GROUP = "bench-reader"


class WrongAnswerError(RuntimeError):
    """A measured stage gave another answer than the direct computation: its figures are not shown."""


class Read(NamedTuple):
    """The records of a topic."""

    keys: list[bytes | None]
    values: list[bytes | None]
    appended_ms: list[int]
    partitions: list[int]
    offsets: list[int]


def reader(settings: Settings, group: str = _GROUP) -> Consumer:
    """Return a consumer that belongs to no group and commits nothing."""
    return Consumer(client_config(settings, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest"))


def ends(consumer: Consumer, topic: str) -> dict[int, int]:
    """Return the end of each partition's log."""
    return {number: watermark_offsets(consumer, topic, number)[1] for number in range(PARTITIONS)}


def read_all(settings: Settings, topic: str) -> Read:
    """Read a topic from its beginning to its end."""
    consumer = reader(settings)
    try:
        left = {number: end for number, end in ends(consumer, topic).items() if end}
        consumer.assign([TopicPartition(topic, number, 0) for number in left])
        read = Read([], [], [], [], [])
        while left:
            for message in consumer.consume(10_000, 1.0):
                if message.error() is not None:
                    raise RuntimeError(f"{topic}: {message.error()}")
                read.keys.append(message.key())
                read.values.append(message.value())
                read.appended_ms.append(message.timestamp()[1])
                number, offset = int(message.partition() or 0), int(message.offset() or 0)
                read.partitions.append(number)
                read.offsets.append(offset)
                if offset + 1 >= left.get(number, 0):
                    left.pop(number, None)
        return read
    finally:
        consumer.close()


def frontiers(settings: Settings, consumer: Consumer, topic: str) -> dict[int, tuple[int, Frontier]]:
    """Return what the processors committed, by partition; ``consumer`` must be of their group.

    Nothing while the broker is still making up its mind about the group.
    """
    asked = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    try:
        found = consumer.committed(asked, 10)
    except KafkaException:
        return {}
    return {tp.partition: (tp.offset, Frontier.decode(tp.metadata or "")) for tp in found if tp.offset >= 0}


def processors_reader(settings: Settings) -> Consumer:
    """Return a consumer that can see the processors' commits. It never joins."""
    return reader(settings, group_id(settings, "processors"))


def final_results(settings: Settings, topic: str) -> tuple[dict[str, pl.DataFrame], float]:
    """Return the final results of a source topic's metrics, summed over partitions, and when the last was appended."""
    (results,) = {metric.results for metric in METRICS if metric.topic == topic}
    home = BY_NAME[f"{results}-final"]
    read = read_all(settings, home.full_name(settings))
    decoder = Decoder(home, load_contracts(), schema_ids(settings), settings.max_record_bytes)
    decoded = decoder.decode(read.values)
    if decoded.rejections:
        raise WrongAnswerError(f"{len(decoded.rejections)} results can't be decoded: {decoded.rejections[0]}")
    by_name = {metric.result: metric for metric in METRICS if metric.topic == topic}
    summed = {by_name[name].name: _over_partitions(by_name[name], frame) for name, frame in decoded.records.items()}
    return summed, max(read.appended_ms, default=0) / 1_000


def _over_partitions(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    keys = ["pane_start", *metric.group]
    newest = rows.sort("next_offset").unique([*keys, "source_partition"], keep="last")
    group = [pl.col(name).cast(pl.String) for name in metric.group]
    measures = []
    for measure in metric.measures:
        column = pl.col(measure.name)
        if measure.aggregate == "last":
            column = column.sort_by("last_at", "last_event_id").last()
        else:
            column = {"min": column.min(), "max": column.max()}.get(measure.aggregate, column.sum())
        measures.append(column.cast(pl.Int64))
    return newest.with_columns(*group).group_by(keys).agg(*measures).sort(keys)


def check(what: str, truth: Mapping[str, pl.DataFrame], found: Mapping[str, pl.DataFrame], metrics: set[str]) -> None:
    """Raise :class:`WrongAnswerError` unless ``found`` says of each of ``metrics`` what the truth says.

    Columns that the truth has no opinion on are left out.
    """
    for name in sorted(metrics):
        expected = truth[name]
        if name not in found:
            raise WrongAnswerError(f"{what}: no results of {name}")
        given = found[name].select(expected.columns)
        if not given.equals(expected):
            raise WrongAnswerError(f"{what}: {name} differs:\n{_difference(given, expected)}")


def _difference(given: pl.DataFrame, expected: pl.DataFrame) -> str:
    only_given = given.join(expected, on=expected.columns, how="anti", nulls_equal=True)
    only_expected = expected.join(given, on=expected.columns, how="anti", nulls_equal=True)
    wrong = f"{len(only_given)} rows are wrong, the first:\n{only_given.head(3)}"
    return f"{wrong}\n{len(only_expected)} rows are missing, the first:\n{only_expected.head(3)}"


def check_books(what: str, committed: Mapping[int, tuple[int, Frontier]], events: int) -> None:
    """Raise :class:`WrongAnswerError` unless every event is applied, and the books balance."""
    fates = [frontier.fates for _, frontier in committed.values()]
    applied = sum(fate.applied for fate in fates)
    control = sum(fate.control for fate in fates)
    total = sum(fate.total for fate in fates)
    imbalance = sum(frontier.imbalance for _, frontier in committed.values())
    if (applied, control, total, imbalance) != (events, PARTITIONS, events + PARTITIONS, 0):
        raise WrongAnswerError(f"{what}: {events} events, and the books say {fates}")
