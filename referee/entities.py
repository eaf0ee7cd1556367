"""Entity views recomputed from the log: each event type owns its columns, and the newest of its events wins.

Late events and second copies are in; what can't be decoded and what is too far ahead of time is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from referee.fates import Settled
from referee.log import PartitionLog
from referee.snapshot import Snapshot

_WHOLE = ("_at", "_e4", "_e6", "_percent")
"""How the names of columns of whole numbers end; all others are texts."""


@dataclass(frozen=True)
class Owner:
    """An event type and the table's columns that it owns, each with the event's column it comes from.

    ``at`` and ``id`` are the columns of the newest event's time and id.
    """

    record: str
    at: str
    id: str
    columns: Mapping[str, str]

    @property
    def all_columns(self) -> dict[str, str]:
        """All columns that are the event type's, those of time and id first."""
        return {self.at: "occurred_at", self.id: "event_id", **self.columns}


@dataclass(frozen=True)
class Entity:
    """A table of an entity view: a row a ``key``. ``topic`` is the logical name of its source."""

    view: str
    table: str
    topic: str
    key: tuple[str, ...]
    owners: tuple[Owner, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns besides the key's."""
        return tuple(name for owner in self.owners for name in owner.all_columns)

    def seen(self, snapshot: Snapshot) -> pl.DataFrame:
        """Return the table's rows."""
        whole = {name for name in self.columns if name.endswith(_WHOLE)}
        types = {name: pl.Int64 if name in whole else pl.String for name in (*self.key, *self.columns)}
        return snapshot.table(self.table, types)


ENTITIES = (
    Entity(
        "orders", "orders", "orders", ("order_id",),
        (
            Owner("OrderPlaced", "placed_at", "placed_id", {
                "customer_id": "customer_id", "country": "country", "currency": "currency", "amount_e4": "amount_e4",
            }),
            Owner("OrderPaid", "paid_at", "paid_id", {"method": "method"}),
            Owner("OrderShipped", "shipped_at", "shipped_id", {"carrier": "carrier"}),
            Owner("OrderCancelled", "cancelled_at", "cancelled_id", {
                "cancel_reason": "reason", "cancelled_country": "country", "cancelled_currency": "currency",
                "cancelled_e4": "amount_e4",
            }),
        ),
    ),
    Entity(
        "devices", "devices", "telemetry", ("device_id",),
        (
            Owner("DeviceConnected", "connected_at", "connected_id", {"firmware": "firmware"}),
            Owner("BatteryLow", "battery_low_at", "battery_low_id", {"battery_percent": "charge_percent"}),
        ),
    ),
    Entity(
        "devices", "device_readings", "telemetry", ("device_id", "sensor"),
        (Owner("ReadingTaken", "reading_at", "reading_id", {"value_e6": "value_e6", "unit": "unit"}),),
    ),
)  # fmt: skip
"""Every table of every entity view."""


def newest(entity: Entity, log: PartitionLog, settled: Settled, end: int) -> dict[str, pl.DataFrame]:
    """Return, by event type, the newest event of each key below offset ``end`` of one partition.

    The frames have the table's columns.
    """
    dead = settled.of("dead").select("offset")
    found = {}
    for owner in entity.owners:
        events = log.records.get(owner.record)
        if events is not None:
            below = events.filter(pl.col("offset") < end).join(dead, on="offset", how="anti")
            found[owner.record] = _newest(entity.key, owner, below.sort("offset").select(_columns(entity, owner)))
    return found


def _columns(entity: Entity, owner: Owner) -> list[pl.Expr]:
    renamed = [pl.col(source).alias(name) for name, source in owner.all_columns.items()]
    return [*(pl.col(name).cast(pl.String) for name in entity.key), *renamed]


def _newest(key: Sequence[str], owner: Owner, events: pl.DataFrame) -> pl.DataFrame:
    """Return the newest of each key by (time, id), of equals the first."""
    ordered = events.sort(owner.at, owner.id, descending=True, maintain_order=True)
    return ordered.unique(subset=list(key), keep="first", maintain_order=True)


def rows(entity: Entity, partitions: Sequence[Mapping[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return the table's rows from what :func:`newest` returned for each partition of its topic."""
    keys = list(entity.key)
    table = pl.DataFrame(schema=dict.fromkeys(keys, pl.String))
    for owner in entity.owners:
        parts = [part[owner.record] for part in partitions if owner.record in part]
        if parts:
            mine = _newest(keys, owner, pl.concat(parts))
            table = table.join(_plain(mine), on=keys, how="full", coalesce=True)
        else:
            table = table.with_columns(pl.lit(None).alias(name) for name in owner.all_columns)
    return table


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with the types that a database gives back."""
    return frame.with_columns(
        pl.col(name).cast(pl.Int64 if kind.is_integer() else pl.String) for name, kind in frame.schema.items()
    )


def mask_unprovable(
    entity: Entity, seen: pl.DataFrame, expected: pl.DataFrame, whole_from_ms: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both without what a log whose beginning is gone can't prove.

    That is: keys that it no longer names, and columns whose newest event is older than ``whole_from_ms``, since
    an event that is gone may have been newer.
    """
    keys = list(entity.key)
    seen = seen.join(expected.select(keys), on=keys, how="semi")
    for owner in entity.owners:
        provable = expected.filter(pl.col(owner.at) >= whole_from_ms).select(*keys, _provable=pl.lit(value=True))
        seen, expected = (_blank(frame, owner, provable, keys) for frame in (seen, expected))
    return seen, expected


def _blank(frame: pl.DataFrame, owner: Owner, provable: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    marked = frame.join(provable, on=keys, how="left")
    kept = (pl.when(pl.col("_provable")).then(pl.col(name)).alias(name) for name in owner.all_columns)
    return marked.with_columns(kept).drop("_provable")
