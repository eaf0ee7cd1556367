"""Encoded events in columns: what the faults, the truth and the delivery need to know of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from penstock.avro import HEADER_BYTES, Encoder
from penstock.avro_encoding_columns import ColumnEncoder
from penstock.contracts import Contract
from producers.events import Event, Made, PartitionOf

Objects: TypeAlias = "npt.NDArray[np.object_]"
Index: TypeAlias = "npt.NDArray[np.int64] | slice"

FACTS = np.dtype(
    [
        ("due", "i8"),  # when it is its turn, by the run's clock
        ("number", "i8"),  # what the faults draw by
        ("occurred_at", "i8"),
        ("amount", "i8"),  # as in `Made`
        ("units", "i8"),
        ("partition", "i4"),
        ("record", "i2"),  # place in `Encoders.records`
        ("fate", "i1"),  # place in `faults.FATES`
        ("poison", "i1"),  # place in `faults.POISONS`, of dead ones
    ]
)


@dataclass(frozen=True)
class Rows:
    """Encoded events: their facts (of :data:`FACTS`), keys (bytes) and values (bytes)."""

    facts: npt.NDArray[np.void]
    keys: Objects
    values: Objects

    def __len__(self) -> int:
        return len(self.facts)

    @property
    def times(self) -> npt.NDArray[np.int64]:
        """Event times in milliseconds."""
        times: npt.NDArray[np.int64] = self.facts["occurred_at"]
        return times

    def picked(self, index: Index) -> "Rows":
        """Return some of them: those of a slice share memory with these."""
        return Rows(self.facts[index], self.keys[index], self.values[index])

    def joined(self, *others: "Rows") -> "Rows":
        """Return these and the others, one behind the other."""
        parts = [rows for rows in (self, *others) if len(rows)]
        if len(parts) < 2:
            return parts[0] if parts else self
        return Rows(
            np.concatenate([rows.facts for rows in parts]),
            np.concatenate([rows.keys for rows in parts]),
            np.concatenate([rows.values for rows in parts]),
        )

    def shifted(self, by_ms: int) -> "Rows":
        """Return the same events, later by so much."""
        facts = self.facts.copy()
        facts["occurred_at"] += by_ms
        facts["due"] += by_ms
        times = facts["occurred_at"].tolist()
        values = [moved(value, at) for value, at in zip(self.values, times, strict=True)]
        return Rows(facts, self.keys, objects(values))


def objects(values: Sequence[Any]) -> Objects:
    """Return an array of Python objects."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


NO_ROWS = Rows(np.empty(0, FACTS), objects([]), objects([]))


class Encoders:
    """The encoders of the records of one topic, with the ids of their schemas."""

    def __init__(self, contracts: Mapping[str, Contract], ids: Mapping[str, int]) -> None:
        self.records = tuple(contracts)
        """Their names; a row's record is a place among them."""
        self._ones = {name: Encoder(contract, ids[name]).encode for name, contract in contracts.items()}
        self._many = {name: ColumnEncoder(contract, ids[name]).encode for name, contract in contracts.items()}

    def one(self, record: str, fields: Mapping[str, Any]) -> bytes:
        """Return the bytes of one record."""
        return self._ones[record](fields)

    def rows(self, made: Made) -> Rows:
        """Return what a model made, encoded."""
        facts = np.zeros(len(made.occurred_at), FACTS)
        facts["occurred_at"] = facts["due"] = made.occurred_at
        facts["partition"], facts["amount"], facts["units"] = made.partitions, made.amounts, made.units
        values = np.empty(len(facts), object)
        for record, places, columns in made.parts:
            facts["record"][places] = self.records.index(record)
            values[places] = self._many[record](columns, len(places))
        return Rows(facts, objects(made.keys), values)

    def rows_of(self, events: Sequence[Event], partition_of: PartitionOf) -> Rows:
        """Return events of files, encoded, with their partitions."""
        facts = np.zeros(len(events), FACTS)
        keys = [event.key.encode() for event in events]
        facts["occurred_at"] = facts["due"] = [event.occurred_at for event in events]
        facts["record"] = [self.records.index(event.record) for event in events]
        facts["partition"] = _placed(keys, partition_of)
        facts["amount"] = [_amount(event.fields) for event in events]
        facts["units"] = [sum(item["quantity"] for item in event.fields.get("items", ())) for event in events]
        return Rows(facts, objects(keys), objects([self.one(event.record, event.fields) for event in events]))


def _amount(fields: Mapping[str, Any]) -> int:
    amount: int = fields.get("amount_e4", 0)
    return round(fields["value"] * 1_000_000) if "value" in fields else amount


def _placed(keys: Sequence[bytes], partition_of: PartitionOf) -> list[int]:
    found = {key: int(partition_of(np.frombuffer(key, np.uint8).reshape(1, -1))[0]) for key in set(keys)}
    return [found[key] for key in keys]


def moved(value: bytes, occurred_at: int, event_id: bytes | None = None) -> bytes:
    """Return an encoded event at another time, and with another id if one is given (36 bytes).

    Every event begins with ``event_id``, a UUID, and ``occurred_at``: a test holds the contracts to that.
    """
    begin = HEADER_BYTES + 1
    end = begin + value[HEADER_BYTES] // 2
    after = end
    while value[after] & 0x80:
        after += 1
    return value[:begin] + (event_id or value[begin:end]) + varint(occurred_at) + value[after + 1 :]


def varint(number: int) -> bytes:
    """Return a number of 0 or more as Avro writes it."""
    left, out = number << 1, bytearray()
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])
