"""Merging a decoded batch into a view: the rules of what enters, and the one transaction that it enters in."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from consumers.batches import Batch
from consumers.offsets import Move, Place, Stored, advance
from consumers.stores import Store
from consumers.view_files import Merge, View, render
from penstock.avro import Decoded
from penstock.avro_columns import INDEX
from penstock.errors import ProtectiveStop
from penstock.failpoints import failpoint
from penstock.metrics import METRICS
from penstock.pipeline import MAX_AHEAD_MS
from penstock.topics import Topic

AHEAD = "ahead-of-time"
"""Reason why an entity view skips an event that the processors dead-letter: it can't have happened yet."""

_EMPTY: pl.Series = pl.Series([], dtype=pl.Boolean)


class Fenced(Exception):  # not an error: somebody else is ahead
    """Somebody else has moved the offset: nothing was merged."""


@dataclass(frozen=True)
class Staged:
    """What of a batch enters a view: rows by merge, one a key, sorted; and how many records went in or were skipped."""

    moves: tuple[Move, ...]
    rows: tuple[tuple[Merge, pl.DataFrame], ...]
    records: int
    skipped: Mapping[str, int]


def source_of(results: Topic, record: str) -> str:
    """Return the logical name of the source topic that ``record`` on a ``results`` topic is folded from."""
    base = results.name.removesuffix("-final")
    return next(metric.topic for metric in METRICS if (metric.results, metric.result) == (base, record))


def check_sources(batch: Batch, decoded: Decoded, topic_ids: Mapping[str, str]) -> None:
    """Raise :class:`ProtectiveStop` if a result was folded from another topic than the source topic of now."""
    for record, frame in decoded.records.items():
        source = source_of(batch.topic, record)
        foreign = frame.filter(pl.col("source_topic_id") != topic_ids[source])
        if len(foreign):
            row = batch.places.row(foreign[INDEX][0])
            raise ProtectiveStop(
                f"{batch.topic.name}[{row[0]}] offset {row[1]}: {record} was folded from {source} with topic id "
                f"{foreign['source_topic_id'][0]}, which now has the id {topic_ids[source]}: the topic was recreated, "
                "its numbers can't be continued: start a new PENSTOCK_PIPELINE_VERSION"
            )


def stage(
    view: View, batch: Batch, decoded: Decoded, topic_id: str, stored: Mapping[Place, Stored]
) -> Staged | None:
    """Return what of ``batch`` enters ``view``; None when it already holds all of it.

    ``stored`` is what we believe the database to say. Raises :class:`ProtectiveStop` if records between that and the
    batch are missing, which can't be.
    """
    moves, fresh = _moves(view, batch, topic_id, stored)
    if not moves:
        return None
    records = {name: _only(decoded.records[name], fresh) for name in view.merges if name in decoded.records}
    skipped = Counter(r.reason for r in decoded.rejections if not len(fresh) or fresh[r.position])
    if batch.topic.role == "source":
        records, ahead = _not_ahead(records, batch.places["appended_at"])
        skipped.update({AHEAD: ahead} if ahead else {})
    rows = tuple(
        (view.merges[name], _rows(view.merges[name], batch.topic, frame))
        for name, frame in records.items()
        if len(frame)
    )
    return Staged(moves, rows, sum(map(len, records.values())), skipped)


def merge(store: Store, view: View, version: int, staged: Staged) -> None:
    """Move the offsets and merge the rows, in one transaction; the compare-and-set comes first.

    Raises :class:`Fenced` when an offset was not where we believed it, and as :class:`consumers.stores.Store` does.
    """
    with store.transaction() as transaction:
        for move in staged.moves:
            if not advance(transaction, version, move):
                raise Fenced(str(move.place))
        for rule, rows in staged.rows:
            table = rule.staging(view.name)
            transaction.merge(render(rule.sql, view, version, store.dialect, table), table, rows)
        failpoint("consumers.before-database-commit")
    failpoint("consumers.after-database-commit")


def _moves(
    view: View, batch: Batch, topic_id: str, stored: Mapping[Place, Stored]
) -> tuple[tuple[Move, ...], pl.Series]:
    """Return the steps, and a mask of the records that the view has not merged (empty: it has none of them)."""
    moves, merged = [], {}
    for partition, begin, end in batch.spans:
        place = Place(view.name, batch.topic.name, partition)
        known = stored.get(place)
        if (known.next if known else 0) < begin:
            raise ProtectiveStop(
                f"{place}: read from offset {begin}, the view needs {known.next if known else 0}: a bug; nothing of it "
                "was merged, restart"
            )
        if known is not None and known.next > begin:
            merged[partition] = known.next
        if known is None or known.next < end:
            moves.append(Move(place, topic_id, known.next if known else None, end))
    if not merged:
        return tuple(moves), _EMPTY
    start = batch.places["partition"].replace_strict(
        list(merged), list(merged.values()), default=0, return_dtype=pl.Int64
    )
    return tuple(moves), batch.places["offset"] >= start


def _only(frame: pl.DataFrame, mask: pl.Series) -> pl.DataFrame:
    return frame.filter(mask.gather(frame[INDEX])) if len(mask) else frame


def _not_ahead(
    records: Mapping[str, pl.DataFrame], appended: pl.Series
) -> tuple[dict[str, pl.DataFrame], int]:
    """Return the records without those that are too far ahead of their append time, and how many those are."""
    kept = {
        name: frame.filter(frame["occurred_at"] - appended.gather(frame[INDEX]) <= MAX_AHEAD_MS)
        for name, frame in records.items()
    }
    return kept, sum(len(records[name]) - len(kept[name]) for name in records)


def _rows(rule: Merge, topic: Topic, frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows to stage: of each key the newest, the first in the log of equals; sorted by key."""
    if topic.role == "results" and "source_topic" in rule.columns:
        frame = frame.with_columns(source_topic=pl.lit(source_of(topic, rule.record)))
    columns = frame.select(_plain(frame.schema[name], name) for name in rule.columns)
    order = (*rule.key, *rule.newest)
    descending = [False] * len(rule.key) + [True] * len(rule.newest)
    ordered = columns.sort(order, descending=descending, maintain_order=True)
    return ordered.unique(subset=rule.key, keep="first", maintain_order=True)


def _plain(kind: pl.DataType, name: str) -> pl.Expr:
    if isinstance(kind, pl.Enum):
        return pl.col(name).cast(pl.String)
    return pl.col(name).cast(pl.Int64) if kind == pl.Boolean else pl.col(name)


def views_of(views: Iterable[View], topic: Topic) -> tuple[View, ...]:
    """Return those of ``views`` that read ``topic``."""
    return tuple(view for view in views if topic in view.topics)
