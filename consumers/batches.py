"""Batches: what was read of one topic at once, from one or more of its partitions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from operator import itemgetter
from typing import NamedTuple, cast

import polars as pl
from confluent_kafka import Message

from penstock.letters import Headers
from penstock.topics import Topic


class Span(NamedTuple):
    """Offsets [``begin``, ``end``) of a partition: all that the log has there is in the batch."""

    partition: int
    begin: int
    end: int


@dataclass(frozen=True)
class Batch:
    """Records of ``topic``, of each partition in the log's order.

    ``places`` has a row a record: ``partition``, ``offset``, ``appended_at`` (the broker's time, ms), all Int64.
    ``headers`` are read only where somebody asks for them, else there are none.
    """

    topic: Topic
    spans: tuple[Span, ...]
    values: Sequence[bytes | None]
    places: pl.DataFrame
    headers: Sequence[Headers | None] = ()

    @property
    def offsets(self) -> str:
        """Which offsets of which partitions it covers: ``0:[17, 20), 3:[5, 6)``."""
        return ", ".join(f"{span.partition}:[{span.begin}, {span.end})" for span in self.spans)

    @property
    def newest_ms(self) -> int:
        """When the newest of the records was appended."""
        return int(self.places["appended_at"].max())  # type: ignore[arg-type]  # Int64, and never empty


def batches(
    messages: Sequence[Message],
    topics: Mapping[str, Topic],
    read_to: Mapping[tuple[str, int], int],
    *,
    with_headers: bool = False,
) -> list[Batch]:
    """Group ``messages`` (none of them an error) by topic, in the order of ``topics`` (by full name).

    ``read_to`` says up to where each (full name, partition) had been read before.
    """
    names: list[str | None] = list(map(Message.topic, messages))
    present = set(names)
    found = []
    for name, topic in topics.items():
        if name in present:
            chosen = list(compress(messages, map(name.__eq__, names))) if len(present) > 1 else messages
            batch = _batch(name, topic, chosen, read_to)
            found.append(replace(batch, headers=_headers(chosen)) if with_headers else batch)
    return found


def _headers(messages: Sequence[Message]) -> list[Headers | None]:
    """Return the headers; none where a name is no UTF-8: then the client can't read any."""
    try:
        return [cast(Headers | None, message.headers()) for message in messages]
    except (SystemError, UnicodeError):
        if len(messages) == 1:
            return [None]
        return [headers for message in messages for headers in _headers([message])]


def _batch(
    name: str, topic: Topic, messages: Sequence[Message], read_to: Mapping[tuple[str, int], int]
) -> Batch:
    # Only records that were never sent have none of the two.
    partitions = cast(list[int], list(map(Message.partition, messages)))
    offsets = cast(list[int], list(map(Message.offset, messages)))
    last = dict(zip(partitions, offsets, strict=True))
    spans = tuple(Span(p, read_to[name, p], last[p] + 1) for p in sorted(last))
    appended = list(map(itemgetter(1), map(Message.timestamp, messages)))
    places = pl.DataFrame(
        {"partition": partitions, "offset": offsets, "appended_at": appended},
        schema={"partition": pl.Int64, "offset": pl.Int64, "appended_at": pl.Int64},
    )
    return Batch(topic, spans, list(map(Message.value, messages)), places)
