"""A stretch of one partition's log in columns, taken out of the client's messages as soon as they are there.

Each look at a message that has left the processor's cache costs more than to make it did: taken in chunks of
:data:`AT_ONCE` and let go at once, the same messages cost a third less (``docs/performance.md``). A method of
``Message`` called by ``map`` costs half of a call in a loop of ours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import itemgetter
from typing import Any

from penstock.letters import Headers
from processors.outbox import Letter

FetchedMessage = Any
"""A ``confluent_kafka.Message``; without error, what its type hints call optional is there."""

AT_ONCE = 2_000
"""Messages that are asked of the client at a time: few enough to stay in the cache."""

_second = itemgetter(1)


@dataclass
class Stretch:
    """Records of one partition, in its log's order: offsets ascend, times are the broker's, in ms."""

    offsets: Sequence[int]
    appended_ms: list[int]
    values: list[bytes | None]
    keys: list[bytes | None]
    headers: list[Headers | None]

    @classmethod
    def of(cls, messages: Sequence[FetchedMessage]) -> "Stretch":
        """Take the columns out of messages, none of them an error."""
        return cls(
            _offsets(messages),
            list(map(_second, _each(messages, "timestamp"))),
            list(_each(messages, "value")),
            list(_each(messages, "key")),
            _headers(messages),
        )

    def extend(self, other: "Stretch") -> None:
        """Append what follows in the log."""
        self.offsets = _followed(self.offsets, other.offsets)
        for column in fields(self)[1:]:
            getattr(self, column.name).extend(getattr(other, column.name))

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, part: slice) -> "Stretch":
        return Stretch(*(getattr(self, column.name)[part] for column in fields(self)))

    def letter(self, position: int) -> Letter:
        """Return one record whole."""
        headers = [(name, value) for name, value in self.headers[position] or []]
        offset, appended_ms = self.offsets[position], self.appended_ms[position]
        return Letter(offset, appended_ms, self.keys[position], self.values[position], headers)


def by_partition(messages: Sequence[FetchedMessage]) -> dict[tuple[str, int], Stretch]:
    """Return messages, none of them an error, by topic and partition. They come in long runs of each."""
    topics, partitions = list(_each(messages, "topic")), list(_each(messages, "partition"))
    if partitions.count(partitions[0]) == len(messages) == topics.count(topics[0]):
        return {(topics[0], partitions[0]): Stretch.of(messages)}
    found: dict[tuple[str, int], Stretch] = {}
    begin = 0
    for tp, run in groupby(zip(topics, partitions, strict=True)):
        end = begin + len(list(run))
        stretch = Stretch.of(messages[begin:end])
        begin = end
        if tp in found:
            found[tp].extend(stretch)
        else:
            found[tp] = stretch
    return found


def any_error(messages: Sequence[FetchedMessage]) -> bool:
    """Return if any of what was fetched is no record."""
    return any(_each(messages, "error"))


def _each(messages: Sequence[FetchedMessage], method: str) -> Iterator[Any]:
    """Call a method of each message; all are of one class."""
    return map(getattr(type(messages[0]), method), messages)


def _offsets(messages: Sequence[FetchedMessage]) -> Sequence[int]:
    """Return the offsets. They ascend, so none is missing where the last is as far from the first as it is here."""
    first, last = messages[0].offset(), messages[-1].offset()
    if last - first == len(messages) - 1:
        return range(first, last + 1)
    return list(_each(messages, "offset"))


def _followed(offsets: Sequence[int], after: Sequence[int]) -> Sequence[int]:
    if isinstance(offsets, range) and isinstance(after, range) and offsets.stop == after.start:
        return range(offsets.start, after.stop)
    return [*offsets, *after]


def _headers(messages: Sequence[FetchedMessage]) -> list[Headers | None]:
    """Return the headers; none where a name is no UTF-8: then the client can't read any."""
    try:
        return list(_each(messages, "headers"))
    except (SystemError, UnicodeError):
        if len(messages) == 1:
            return [None]
        return [headers for message in messages for headers in _headers([message])]
