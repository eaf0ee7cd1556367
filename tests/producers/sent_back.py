"""What the producers encode, read back with the codec's decoder; and events of the models in that form."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from penstock.avro import INDEX, Decoder
from penstock.contracts import load_contracts
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from producers.events import Workload
from producers.rows import Rows
from producers.session import encoders_of
from producers.stream import Batch, Outgoing

ENCODERS = {topic: encoders_of(BY_NAME[topic], LockedIds()) for topic in ("orders", "telemetry")}
DECODERS = {topic: Decoder(BY_NAME[topic], load_contracts(), LockedIds(), 256_000) for topic in ENCODERS}


class Said(NamedTuple):
    """An event as it is read back."""

    record: str
    key: str
    partition: int
    fields: dict[str, Any]

    @property
    def occurred_at(self) -> int:
        at: int = self.fields["occurred_at"]
        return at


def read(topic: str, values: Sequence[bytes]) -> list[tuple[str, dict[str, Any]] | None]:
    """Return record and fields of each value; None for one that can't be read."""
    decoded = DECODERS[topic].decode(values)
    found: list[tuple[str, dict[str, Any]] | None] = [None] * len(values)
    for name, frame in decoded.records.items():
        for row in frame.to_dicts():
            found[row.pop(INDEX)] = (name, row)
            if "value_e6" in row:
                row["value"] = row["value_e6"] / 1_000_000
    for name, frame in decoded.items.items():
        for row in frame.to_dicts():
            owner = found[row.pop(INDEX)]
            if owner is not None:
                owner[1].setdefault(name.split(".")[1], []).append(row)
    return found


def events(topic: str, rows: Rows) -> list[Said]:
    """Return encoded events as they are read back."""
    parts = zip(read(topic, rows.values.tolist()), rows.keys, rows.facts["partition"].tolist(), strict=True)
    return [Said(said[0], key.decode(), partition, said[1]) for said, key, partition in parts if said]


def batch(topic: str, model: Workload, times: Sequence[int] | npt.NDArray[np.int64]) -> list[Said]:
    """Return the events that a model makes at ``times``."""
    return events(topic, ENCODERS[topic].rows(model.batch(np.array(times, np.int64))))


def records(batch: Batch) -> list[Outgoing]:
    """Return a batch's records one by one."""
    return [batch.row(position) for position in range(len(batch))]
