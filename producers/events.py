"""Events: by the row as files have them, and in columns as the models make them; times in milliseconds UTC."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from penstock.avro_encoding_columns import Columns

Fields = dict[str, Any]
Ints = npt.NDArray[np.int64]

PartitionOf = Callable[[npt.NDArray[np.uint8]], Ints]
"""From keys, a matrix of bytes with a row a key, to their partitions."""


class Event(NamedTuple):
    """An event of a file. ``fields`` are in the codec's column form (``amount_e4``), as ``Encoder`` takes them."""

    record: str
    """Name of the contract."""
    key: str
    fields: Fields

    @property
    def occurred_at(self) -> int:
        """Event time in milliseconds."""
        value: int = self.fields["occurred_at"]
        return value


class Part(NamedTuple):
    """Events of one contract among others: their places in the batch, ascending, and their fields in columns."""

    record: str
    places: Ints
    columns: Columns


@dataclass
class Made:
    """A batch that a model made, in the order of its times."""

    occurred_at: Ints
    partitions: Ints
    keys: Sequence[bytes]
    parts: Sequence[Part]
    amounts: Ints
    """What the metrics sum: the order's amount in 1/10,000, the reading's value in 1/1,000,000; else 0."""
    units: Ints
    """Units of what was ordered; else 0."""


class Workload(Protocol):
    """A model that makes events. Its randomness comes from the seed alone, its time from the caller alone."""

    def batch(self, times: Ints) -> Made:
        """Return one event for each of ``times`` (ascending, and not before those of the last call).

        What is made does not depend on how the times are parted into batches.
        """
