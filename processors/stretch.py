"""A stretch of one partition's log in columns, taken out of the client's messages as soon as they are there.

Each look at a message that has left the processor's cache costs more than to make it did: taken in chunks of
:data:`AT_ONCE` and let go at once, the same messages cost a third less (``docs/performance.md``).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from typing import Any

from penstock.letters import Headers
from processors.outbox import Letter

FetchedMessage = Any
"""A ``confluent_kafka.Message`` without error: what its type hints call optional is there."""

AT_ONCE = 2_000
"""Messages that are asked of the client at a time: few enough to stay in the cache."""


@dataclass
class Stretch:
    """Records of one partition, in its log's order: offsets ascend, times are the broker's, in ms."""

    offsets: list[int]
    appended_ms: list[int]
    values: list[bytes | None]
    keys: list[bytes | None]
    headers: list[Headers | None]

    @classmethod
    def of(cls, messages: Sequence[FetchedMessage]) -> "Stretch":
        """Take the columns out of messages, none of them an error."""
        return cls(
            [message.offset() for message in messages],
            [message.timestamp()[1] for message in messages],
            [message.value() for message in messages],
            [message.key() for message in messages],
            _headers(messages),
        )

    def extend(self, other: "Stretch") -> None:
        """Append what follows in the log."""
        for column in fields(self):
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
    found: dict[tuple[str, int], Stretch] = {}
    places = zip([m.topic() for m in messages], [m.partition() for m in messages], strict=True)
    begin = 0
    for tp, run in groupby(places):
        end = begin + len(list(run))
        stretch = Stretch.of(messages[begin:end])
        begin = end
        if tp in found:
            found[tp].extend(stretch)
        else:
            found[tp] = stretch
    return found


def _headers(messages: Sequence[FetchedMessage]) -> list[Headers | None]:
    """Return the headers; none where a name is no UTF-8: then the client can't read any."""
    try:
        return [message.headers() for message in messages]
    except (SystemError, UnicodeError):
        if len(messages) == 1:
            return [None]
        return [headers for message in messages for headers in _headers([message])]
