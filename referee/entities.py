"""Entity views recomputed from the log: each event type owns its columns, and the newest of its events wins.

Late events and second copies are in; what can't be decoded and what is too far ahead of time is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from penstock.pipeline import NO_TIME
from referee.compare import places_text
from referee.fates import Settled
from referee.log import PartitionLog
from referee.snapshot import Snapshot

_WHOLE = ("_at", "_e4", "_e6", "_percent")
"""How the names of columns of whole numbers end; all others are texts."""

PLACE = ("partition", "offset")
"""Columns that say where an event stands."""


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

    @property
    def schema(self) -> dict[str, Any]:
        """All columns with their types."""
        return typed(self.key, self.columns)

    def batches(self, snapshot: Snapshot) -> Iterator[pl.DataFrame]:
        """Yield the table's rows, a batch at a time."""
        return snapshot.batches(snapshot.table_name(self.table), self.schema)


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


def typed(key: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """Return the types of columns as a database gives them back, by their names; keys are texts."""
    texts = dict.fromkeys(key, pl.String)
    return texts | {name: pl.Int64 if name.endswith(_WHOLE) else pl.String for name in columns}


def owner_schema(entity: Entity, owner: Owner) -> dict[str, Any]:
    """Return the columns of what :func:`newest` finds for one event type."""
    return typed(entity.key, tuple(owner.all_columns)) | dict.fromkeys(PLACE, pl.Int64)


def newest(
    entity: Entity, log: PartitionLog, settled: Settled, end: int, partition: int = 0
) -> dict[str, pl.DataFrame]:
    """Return, by event type, the newest event of each key below offset ``end`` in (a piece of) one partition.

    The frames have the table's columns, and the event's :data:`PLACE`.
    """
    dead = settled.of("dead").select("offset")
    found = {}
    for owner in entity.owners:
        events = log.records.get(owner.record)
        if events is not None:
            below = events.filter(pl.col("offset") < end).join(dead, on="offset", how="anti", maintain_order="left")
            own = _plain(below.sort("offset").select(_columns(entity, owner, partition)))
            found[owner.record] = newest_of(entity, owner, own)
    return found


def _columns(entity: Entity, owner: Owner, partition: int) -> list[pl.Expr]:
    renamed = [pl.col(source).alias(name) for name, source in owner.all_columns.items()]
    place = [pl.lit(partition, pl.Int64).alias("partition"), pl.col("offset")]
    return [*(pl.col(name).cast(pl.String) for name in entity.key), *renamed, *place]


def newest_of(entity: Entity, owner: Owner, events: pl.DataFrame) -> pl.DataFrame:
    """Return the newest of each key by (time, id), of equals the first."""
    ordered = events.sort(owner.at, owner.id, descending=True, maintain_order=True)
    return ordered.unique(subset=list(entity.key), keep="first", maintain_order=True)


def rows(entity: Entity, partitions: Sequence[Mapping[str, pl.DataFrame]]) -> pl.DataFrame:
    """Return the table's rows from what :func:`newest` returned for each partition of its topic.

    Beside the table's columns stand the places of the events, by event type: see :func:`trace`.
    """
    keys = list(entity.key)
    table = pl.DataFrame(schema=dict.fromkeys(keys, pl.String))
    for owner in entity.owners:
        parts = [part[owner.record] for part in partitions if owner.record in part]
        found = pl.concat([pl.DataFrame(schema=owner_schema(entity, owner)), *parts])
        placed = {name: f"{owner.record}:{name}" for name in PLACE}
        table = table.join(newest_of(entity, owner, found).rename(placed), on=keys, how="full", coalesce=True)
    return table


def trace(entity: Entity, expected: pl.DataFrame, keys: pl.DataFrame, column: str) -> list[str]:
    """Return where the newest event that owns ``column`` stands, for each key; for a whole row, of all event types."""
    owners = [owner for owner in entity.owners if column in owner.all_columns] or entity.owners
    named = keys.with_row_index("_row").join(expected, on=list(entity.key), how="left").sort("_row")
    found = [
        [row[f"{owner.record}:{name}"] for name in PLACE] for row in named.iter_rows(named=True) for owner in owners
    ]
    texts = ["" if at is None else places_text(entity.topic, partition, [at]) for partition, at in found]
    by_row = (texts[begin : begin + len(owners)] for begin in range(0, len(texts), len(owners)))
    return ["; ".join(filter(None, row)) for row in by_row]


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ``frame`` with the types that a database gives back."""
    return frame.with_columns(
        pl.col(name).cast(pl.Int64 if kind.is_integer() else pl.String) for name, kind in frame.schema.items()
    )


def mask_unprovable(
    entity: Entity, seen: pl.DataFrame, expected: pl.DataFrame, whole_from_ms: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return both without what a log whose beginning is gone (or not asked for) can't prove.

    All events from ``whole_from_ms`` on are in the log. So nothing is said of columns whose newest event is older on
    both sides, since one that is gone may have been newer, nor of rows that have none but such and no event in the log.
    """
    keys = list(entity.key)
    both = seen.join(expected, on=keys, how="full", coalesce=True, suffix=":log")
    recent = [
        pl.max_horizontal(owner.at, f"{owner.at}:log").fill_null(NO_TIME).ge(whole_from_ms).alias(owner.record)
        for owner in entity.owners
    ]
    provable = both.select(*keys, *recent)
    known = provable.filter(pl.any_horizontal(owner.record for owner in entity.owners)).select(keys)
    named = pl.concat([known, expected.select(keys)]).unique()
    seen = seen.join(named, on=keys, how="semi")
    return _blank(entity, seen, provable), _blank(entity, expected, provable)


def _blank(entity: Entity, frame: pl.DataFrame, provable: pl.DataFrame) -> pl.DataFrame:
    marked = frame.join(provable, on=list(entity.key), how="left")
    kept = (
        pl.when(pl.col(owner.record)).then(pl.col(name)).alias(name)
        for owner in entity.owners
        for name in owner.all_columns
    )
    return marked.with_columns(kept).drop(owner.record for owner in entity.owners)
