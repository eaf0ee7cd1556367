"""Entity views held against the log: both sides in buckets of the key, then compared bucket by bucket."""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial

import polars as pl

from referee.compare import Differences, Shape, compare
from referee.entities import Entity, mask_unprovable, newest, newest_of, owner_schema, rows, trace
from referee.fates import Settled
from referee.log import PartitionLog
from referee.relations import ENTITY_RELATIONS
from referee.snapshot import Snapshot
from referee.spill import Buckets, Spill


class EntityTrial:
    """The tables of one entity view, and the relation that people query."""

    def __init__(self, view: str, entities: Iterable[Entity], buckets: Buckets) -> None:
        self._view = view
        self._entities = [entity for entity in entities if entity.view == view]
        self._buckets = buckets
        self._newest = {
            entity.table: {
                owner.record: Spill(
                    buckets, f"{entity.table}-{owner.record}", owner_schema(entity, owner), entity.key[0],
                    partial(newest_of, entity, owner),
                )
                for owner in entity.owners
            }
            for entity in self._entities
        }  # fmt: skip
        self._seen: dict[str, Spill] = {}
        self._relation: Spill | None = None
        self._whole_from_ms: int | None = None
        self.topic = self._entities[0].topic
        self.rows: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()

    def add(self, log: PartitionLog, judged: Settled, end: int, partition: int) -> None:
        """Take the events below offset ``end`` of a piece of one partition of the topic."""
        if log.start < end:
            for entity in self._entities:
                for record, found in newest(entity, log, judged, end, partition).items():
                    self._newest[entity.table][record].add(found)

    def whole_from(self, whole_from_ms: int | None) -> None:
        """Of one partition, only events from ``whole_from_ms`` on are all in the log (None: all are)."""
        if whole_from_ms is not None:
            self._whole_from_ms = max(self._whole_from_ms or whole_from_ms, whole_from_ms)

    def run(self, snapshot: Snapshot, differences: Differences) -> None:
        """Compare all rows of the view."""
        for entity in self._entities:
            self._seen[entity.table] = self._spilled(f"{entity.table}-seen", entity, snapshot)
        relation = ENTITY_RELATIONS.get(self._view) if self._view in snapshot.shown() else None
        if relation:
            self._relation = Spill(self._buckets, f"{self._view}-relation", relation.schema, relation.key[0])
            self._relation.add_all(relation.batches(snapshot))
        for number in range(self._buckets.count):
            tables = {entity.table: self._seen[entity.table].bucket(number) for entity in self._entities}
            for entity in self._entities:
                self._compare(entity, number, tables[entity.table], differences)
            if relation and self._relation:
                relation.check(self._relation.bucket(number), tables, differences)
        for spill in self._spills():
            spill.remove()

    def _spills(self) -> Iterator[Spill]:
        for by_owner in self._newest.values():
            yield from by_owner.values()
        yield from self._seen.values()
        if self._relation:
            yield self._relation

    def _spilled(self, name: str, entity: Entity, snapshot: Snapshot) -> Spill:
        spill = Spill(self._buckets, name, entity.schema, entity.key[0])
        spill.add_all(entity.batches(snapshot))
        return spill

    def _compare(self, entity: Entity, number: int, seen: pl.DataFrame, differences: Differences) -> None:
        found = {record: spill.bucket(number) for record, spill in self._newest[entity.table].items()}
        expected = rows(entity, [found])
        compared = len(seen)
        sides = (seen, expected)
        if self._whole_from_ms is not None:
            sides = mask_unprovable(entity, seen, expected, self._whole_from_ms)
            # A row without any column that can be proved is only looked for.
            times = [pl.col(owner.at).is_not_null() for owner in entity.owners]
            compared = len(sides[0].filter(pl.any_horizontal(times)))
            self.left_out[entity.table] += len(seen) - compared
        self.rows[entity.table] += compared
        shape = Shape(entity.table, entity.key, entity.columns)
        compare(shape, *sides, differences, partial(trace, entity, expected))
