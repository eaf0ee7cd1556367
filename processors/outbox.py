"""What a step sends: results, late events and dead letters, as Kafka messages. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from penstock.avro import INDEX, Encoder, Rejection
from penstock.avro_cells import Vocabulary, texts
from penstock.avro_encoding_columns import Column, ColumnEncoder, Optional
from penstock.contracts import Contract
from penstock.letters import Headers, kept, kept_headers
from penstock.metrics import METRICS, Metric
from penstock.pipeline import watermark
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME
from processors.fates import NEWEST_BEFORE, PANE

FINAL_SUFFIX = "-final"

MANY = 32
"""Rows that are worth to be encoded in columns."""


class Origin(NamedTuple):
    """The partition that something came from."""

    topic: str
    topic_id: str
    partition: int


class Letter(NamedTuple):
    """A record as it came."""

    offset: int
    appended_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Outgoing(NamedTuple):
    """Messages for one topic (its full name)."""

    topic: str
    messages: list[tuple[bytes, bytes]]


def letter_key(origin: Origin, offset: int) -> bytes:
    """Return the key of the late event or dead letter that keeps a record."""
    return f"{origin.topic_id}|{origin.partition}|{offset}".encode()


def result_key(metric: Metric, pane: int, partition: int, group: Iterable[str]) -> bytes:
    """Return the key of one result: what :meth:`Outbox.results` makes in columns."""
    parts = (f"|{len(text.encode())}:{text}" for text in group)
    return f"{metric.name}|{pane}|{partition}{''.join(parts)}".encode()


def _encodable(column: pl.Series) -> Column:
    """Return a column of results as :class:`ColumnEncoder` takes it."""
    if column.dtype.is_integer():
        if column.null_count():
            return Optional(column.fill_null(0).to_numpy(), column.is_not_null().to_numpy())
        return column.to_numpy()
    if isinstance(column.dtype, pl.Enum):
        used, codes = np.unique(column.to_physical().to_numpy(), return_inverse=True)
        return Vocabulary(column.dtype.categories.gather(used).to_list()).at(codes)
    return texts(column.cast(pl.Binary).to_list())


class Outbox:
    """Encodes what the folds bring forth."""

    def __init__(self, settings: Settings, contracts: Mapping[str, Contract], ids: SchemaIds) -> None:
        self._settings = settings
        homes = {metric.result: metric.results for metric in METRICS}
        homes |= {"LateEvent": "late-events", "DeadLetter": "dead-letters", "ProbePassed": "freshness"}
        known = {name: (contracts[name], ids.id_of(contracts[name], BY_NAME[topic])) for name, topic in homes.items()}
        self._encoders = {name: Encoder(*of) for name, of in known.items()}
        self._column_encoders = {metric.result: ColumnEncoder(*known[metric.result]) for metric in METRICS}

    def results(
        self, metric: Metric, rows: pl.DataFrame, origin: Origin, next_offset: int, *, final: bool
    ) -> Outgoing:
        """Return the upserts of one metric's ``rows``."""
        size = [pl.col(name).cast(pl.String) for name in metric.group]
        parts = ["{}|{}|{}", *("|{}:{}" for _ in metric.group)]
        arguments = [pl.lit(metric.name), pl.col(PANE), pl.lit(origin.partition)]
        arguments += [part for text in size for part in (text.str.len_bytes(), text)]
        key = pl.format("".join(parts), *arguments).cast(pl.Binary).alias("key")
        keys = rows.select_seq(key)["key"].to_list()
        same: dict[str, Any] = {"source_partition": origin.partition, "next_offset": next_offset, "final": final}
        if len(rows) < MANY:
            same |= {"source_topic_id": origin.topic_id}
            named = (row | same for row in rows.rename({PANE: "pane_start"}).iter_rows(named=True))
            values = self._encoders[metric.result].encode_all(named)
        else:
            columns = {column.name: _encodable(column) for column in rows}
            columns |= {name: np.full(len(rows), value) for name, value in same.items()}
            columns["pane_start"] = columns.pop(PANE)
            columns["source_topic_id"] = Vocabulary([origin.topic_id]).at(np.zeros(len(rows), np.int64))
            values = self._column_encoders[metric.result].encode(columns, len(rows))
        topic = BY_NAME[metric.results + (FINAL_SUFFIX if final else "")]
        return Outgoing(topic.full_name(self._settings), list(zip(keys, values, strict=True)))

    def late(self, late: pl.DataFrame, letters: Mapping[int, Letter], origin: Origin) -> Outgoing:
        """Return the late events; ``letters`` holds each by its position."""
        records = (
            self._base(letters[row[INDEX]], origin)
            | {
                "event_id": row["event_id"],
                "occurred_at": row["occurred_at"],
                "watermark": watermark(row[NEWEST_BEFORE]),
            }
            for row in late.iter_rows(named=True)
        )
        return self._letters("late-events", "LateEvent", records, origin)

    def dead(self, dead: Sequence[Rejection], letters: Mapping[int, Letter], origin: Origin) -> Outgoing:
        """Return the dead letters; ``letters`` holds each by its position."""
        records = (
            self._base(letters[rejection.position], origin)
            | {"reason": rejection.reason, "detail": rejection.detail}
            for rejection in dead
        )
        return self._letters("dead-letters", "DeadLetter", records, origin)

    def probe(self, origin: Origin, next_offset: int, sent_at: int) -> Outgoing:
        """Return the freshness probe of a partition; the results of all below ``next_offset`` were sent before it."""
        record = {
            "source_topic": origin.topic,
            "source_topic_id": origin.topic_id,
            "source_partition": origin.partition,
            "next_offset": next_offset,
            "sent_at": sent_at,
        }
        key = f"{origin.topic}|{origin.partition}".encode()
        topic = BY_NAME["freshness"].full_name(self._settings)
        return Outgoing(topic, [(key, self._encoders["ProbePassed"].encode(record))])

    def _letters(
        self, topic: str, contract: str, records: Iterator[dict[str, Any]], origin: Origin
    ) -> Outgoing:
        encode = self._encoders[contract].encode
        messages = [(letter_key(origin, record["source_offset"]), encode(record)) for record in records]
        return Outgoing(BY_NAME[topic].full_name(self._settings), messages)

    def _base(self, letter: Letter, origin: Origin) -> dict[str, Any]:
        limit = self._settings.max_record_bytes
        return {
            "source_topic": origin.topic,
            "source_topic_id": origin.topic_id,
            "source_partition": origin.partition,
            "source_offset": letter.offset,
            "appended_at": letter.appended_ms,
            "key": kept(letter.key, limit),
            "value": kept(letter.value, limit),
            "headers": [{"name": name, "value": value} for name, value in kept_headers(letter.headers, limit)],
        }
