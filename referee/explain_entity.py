"""Explaining a row of an entity's view: all events of its key, and which of them gave which column."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from penstock.errors import UsageError
from referee.entities import Entity, Owner
from referee.explain_context import Context, Stretch
from referee.explain_question import EntityQuestion
from referee.explanation import ABSENT, EVENT, Explanation, Line
from referee.fates import Settled
from referee.log import PartitionLog
from referee.partitioner import partition_of
from referee.snapshot import equal

GAVE = "gave"
SHOWN_KEYS = 5


def explain_entity(asked: EntityQuestion, at: Context) -> Explanation:
    """Return the explanation of one key's row, or rows where it has several.

    Reads the partition that the key belongs to, and the others only where that one does not explain the view. Raises
    UsageError where neither the log nor the view knows the key.
    """
    topic = asked.entities[0].topic
    numbers = at.partitions(topic)
    home = partition_of(asked.key[asked.entities[0].key[0]], len(numbers))
    gives = tuple(dict.fromkeys(name for entity in asked.entities for name in entity.columns))
    found = Explanation(asked.view, asked.key, None, pl.DataFrame(schema=EVENT), (*gives, GAVE))
    in_view = {entity.table: _rows(entity, asked.key, at) for entity in asked.entities}
    events = _read(asked, at, found, [home])
    _conclude(asked, at, found, events, in_view)
    known = any(len(rows) for rows in in_view.values())
    if (known or len(events)) and not found.equal and len(numbers) > 1:
        found.notes.append(f"{topic}/{home}, where the key belongs, does not explain the view: all were read")
        events = pl.concat([events, _read(asked, at, found, [n for n in numbers if n != home])], how="diagonal_relaxed")
        _conclude(asked, at, found, events, in_view)
    if not known and events.is_empty():
        raise UsageError(_nothing(asked, at, topic, home))
    return found


def _rows(entity: Entity, key: Mapping[str, str], at: Context) -> pl.DataFrame:
    where = equal({name: value for name, value in key.items() if name in entity.key})
    frames = list(at.snapshot.batches(at.snapshot.table_name(entity.table), entity.schema, where))
    return pl.concat([pl.DataFrame(schema=entity.schema), *frames])


def _stored(at: Context, view: str, topic: str, partition: int) -> int:
    stored = at.snapshot.stored(view, topic, partition)
    return stored[1] if stored else 0


def _read(asked: EntityQuestion, at: Context, found: Explanation, numbers: Sequence[int]) -> pl.DataFrame:
    """Return all events of the key in some partitions, with the columns of the tables that they fill."""
    topic = asked.entities[0].topic
    stretches = [at.stretch(topic, number, _stored(at, asked.view, topic, number)) for number in numbers]
    at.progress.begin(sum(stretch.end - stretch.start for stretch in stretches))
    schema = {**EVENT, **{name: kind for entity in asked.entities for name, kind in entity.schema.items()}}
    frames = [pl.DataFrame(schema=schema)]
    for stretch in stretches:
        walk, whole_from_ms = at.walk(stretch, _picker(asked))
        found.reads.append(stretch.read_to(walk.end))
        if whole_from_ms is not None:
            found.notes.append(_torn(stretch))
        events = walk.events()
        if events is not None:
            frames.append(events)
    return pl.concat(frames, how="diagonal_relaxed")


def _torn(stretch: Stretch) -> str:
    place = f"{stretch.topic}/{stretch.partition}"
    return f"{place}: the log begins at offset {stretch.low:,}: earlier events can't be listed"


class _picker:  # noqa: N801  # used as a function
    """Picks the events of a key, with their values under the names of the tables' columns."""

    def __init__(self, asked: EntityQuestion) -> None:
        self._asked = asked

    def __call__(self, piece: PartitionLog, judged: Settled) -> pl.DataFrame:
        """See :data:`referee.explain_walk.Pick`."""
        frames = [pl.DataFrame(schema={"offset": pl.Int64})]
        for entity in self._asked.entities:
            for owner in entity.owners:
                events = piece.records.get(owner.record)
                if events is not None:
                    frames.append(self._of(entity, owner, events))
        return pl.concat(frames, how="diagonal_relaxed").sort("offset")

    def _of(self, entity: Entity, owner: Owner, events: pl.DataFrame) -> pl.DataFrame:
        for name in entity.key:
            if name in self._asked.key:
                events = events.filter(pl.col(name).cast(pl.String) == self._asked.key[name])
        names = {**{name: name for name in entity.key}, **owner.all_columns}
        plain = (pl.col(source).cast(_kind(entity, name)).alias(name) for name, source in names.items())
        return events.select("offset", *plain)


def _kind(entity: Entity, name: str) -> Any:
    return entity.schema[name]


def _conclude(
    asked: EntityQuestion, at: Context, found: Explanation, events: pl.DataFrame, in_view: Mapping[str, pl.DataFrame]
) -> None:
    """Hold the rows that the events make against the view's, and note which event gave which column."""
    events = events.sort("partition", "offset").with_row_index("_row")
    gave: dict[int, list[str]] = {}
    found.lines = []
    for entity in asked.entities:
        by_key = {_key_of(entity, row): row for row in in_view[entity.table].iter_rows(named=True)}
        made = _made(entity, asked, at, events, gave)
        for key in sorted({*by_key, *made}):
            part = " ".join((entity.table, *(f"{name}={value}" for name, value in zip(entity.key, key, strict=True))))
            row, expected = by_key.get(key, {}), made.get(key, {})
            for name in entity.columns:
                value, source = expected.get(name, (None if expected else ABSENT, ""))
                found.lines.append(Line(part, name, value, row.get(name, ABSENT), source))
    words = [", ".join(gave.get(number, ())) or None for number in range(len(events))]
    told = events.drop("_row").with_columns(pl.Series(GAVE, words, dtype=pl.String))
    found.events = told.select(*EVENT, *found.gives)


def _key_of(entity: Entity, row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in entity.key)


def _made(
    entity: Entity, asked: EntityQuestion, at: Context, events: pl.DataFrame, gave: dict[int, list[str]]
) -> dict[tuple[str, ...], dict[str, tuple[Any, str]]]:
    """Return by key the value of each column and where it comes from: for each event type its newest event."""
    found: dict[tuple[str, ...], dict[str, tuple[Any, str]]] = {}
    for owner in entity.owners:
        for row in _newest(entity, owner, asked, at, events).iter_rows(named=True):
            place = f"{row['topic']}/{row['partition']}@{row['offset']}"
            columns = {name: (row[name], place) for name in owner.all_columns}
            found.setdefault(_key_of(entity, row), {}).update(columns)
            gave.setdefault(row["_row"], []).extend(columns)
    return found


def _newest(
    entity: Entity, owner: Owner, asked: EntityQuestion, at: Context, events: pl.DataFrame
) -> pl.DataFrame:
    """Return the newest event of a type by key: by time, then id; of equals the first. What can't be used is not."""
    ends = {number: _stored(at, asked.view, entity.topic, number) for number in at.partitions(entity.topic)}
    end = pl.col("partition").replace_strict(ends, default=0, return_dtype=pl.Int64)
    own = events.filter((pl.col("kind") == owner.record) & (pl.col("fate") != "dead") & (pl.col("offset") < end))
    ordered = own.sort("occurred_at", "event_id", descending=True, maintain_order=True)
    return ordered.unique(subset=list(entity.key), keep="first", maintain_order=True)


def _nothing(asked: EntityQuestion, at: Context, topic: str, home: int) -> str:
    """Say that there is nothing, and what there is."""
    entity = asked.entities[0]
    named = " ".join(f"{name}={value}" for name, value in asked.key.items())
    said = f"{asked.view}: neither the view nor {topic}/{home}, where the key belongs, has {named}"
    examples = ", ".join(map(str, _some_keys(entity, at)))
    return f"{said}; there is {examples} …" if examples else f"{said}; the view is empty"


def _some_keys(entity: Entity, at: Context) -> Iterator[str]:
    (name,) = entity.key[:1]
    table = at.snapshot.table_name(entity.table)
    (bounds,) = at.snapshot.batches(table, {f"min({name})": pl.String, f"max({name})": pl.String})
    yield from (value for value in dict.fromkeys(bounds.row(0)) if value is not None)
