"""An event as the models make it: values only; times in milliseconds UTC."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

Fields = dict[str, Any]

PartitionOf = Callable[[str], int]
"""From a key to its partition."""

UNPLACED = -1
"""Partition of an event that was read from a file, until the broker has told how many there are."""


class Event(NamedTuple):
    """``fields`` are in the codec's column form (``amount_e4``, ``occurred_at`` in ms), as ``Encoder`` takes them.

    Nobody changes them after: models share parts of them between events.
    """

    record: str
    """Name of the contract."""
    key: str
    partition: int
    fields: Fields

    @property
    def occurred_at(self) -> int:
        """Event time in milliseconds."""
        value: int = self.fields["occurred_at"]
        return value


class Workload(Protocol):
    """A model that makes events. Its randomness comes from the seed alone, its time from the caller alone."""

    def batch(self, times: Sequence[int]) -> list[Event]:
        """Return one event for each of ``times`` (ascending, and not before those of the last call)."""
