"""The views' side of the books: what of each source partition they hold, how far they are, and what can't be.

The other side, duplicates and control records among it, is the processors' frontier, which only Kafka has: `penstock
books` holds both sides together, and so does the alert *ViewsDisagreeWithBooks*. What the views alone can show wrong
is told here: more events than the log has offsets, and records of two topics of one name.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from consumers.serving.endpoints import Arguments, Endpoint, Field, record, reference, schema_of
from consumers.serving.kinds import Flag, Said, Time, Whole
from consumers.serving.look import Look
from penstock.topics import SOURCES

VIEWS = ("pane_counts", "late_events", "dead_letters")
OPEN_MS = 3_600_000
"""Panes that begin this long before the newest one are final, unless time stood still for their partition."""

_APPLIED = """SELECT source_topic, source_partition, CAST(sum(applied) AS BIGINT)
FROM {pane_counts} GROUP BY source_topic, source_partition"""
_OPEN = """SELECT source_partition, max(next_offset), CAST(sum(CASE WHEN final = 0 THEN applied ELSE 0 END) AS BIGINT)
FROM {pane_counts} WHERE source_topic = :topic AND window_start > :since GROUP BY source_partition"""
_NEWEST = "SELECT max(window_start) FROM {pane_counts} WHERE source_topic = :topic"
_LETTERS = """SELECT source_topic, source_partition, source_topic_id, count(*), max(source_offset)
FROM {%s} GROUP BY source_topic, source_partition, source_topic_id"""
_PROBES = "SELECT source_topic, source_partition, next_offset, sent_at FROM {freshness}"


@dataclass
class Partition:
    """What the views hold of a source partition. ``settled`` and ``read`` are next offsets, 0 before the first."""

    applied: int = 0
    open: int = 0
    late: int = 0
    dead: int = 0
    settled: int = 0
    """All records below have their fate, and what came of them is here, the open panes' latest changes aside."""
    read: int = 0
    """All records below are in ``orders`` and ``devices``."""
    probe_ms: int | None = None
    """When the newest probe was sent whose results are here: so old is the oldest that may be missing."""
    last: int = 0
    topic_ids: set[str] = field(default_factory=set)

    @property
    def problems(self) -> list[str]:
        """What can't be."""
        held, offsets = self.applied + self.late + self.dead, max(self.settled, self.read, self.last)
        found = [f"holds {held:,} events of {offsets:,} offsets"] if held > offsets else []
        return found + (["holds records of two topics of that name"] if len(self.topic_ids) > 1 else [])


Place = tuple[str, int]


def read_books(look: Look) -> dict[Place, Partition]:
    """Return what the views hold, by source topic and partition."""
    found: defaultdict[Place, Partition] = defaultdict(Partition)
    for topic, partition, applied in look.rows("pane_counts", _APPLIED):
        found[topic, partition].applied = int(applied)
    for source in SOURCES:
        _add_open(look, source.name, found)
    for view in ("late_events", "dead_letters"):
        for topic, partition, topic_id, count, last in look.rows(view, _LETTERS % view):
            place = found[topic, partition]
            place.late += count if view == "late_events" else 0
            place.dead += count if view == "dead_letters" else 0
            place.last = max(place.last, last + 1)
            place.topic_ids.add(topic_id)
    sources = {source.name for source in SOURCES}
    for _, topic, partition, topic_id, next_offset in look.offsets():
        if topic in sources:
            found[topic, partition].read = next_offset
            found[topic, partition].topic_ids.add(topic_id)
    if look.has("freshness"):
        for topic, partition, next_offset, sent_at in look.rows("freshness", _PROBES):
            place = found[topic, partition]
            place.settled, place.probe_ms = max(place.settled, next_offset), sent_at
    return dict(sorted(found.items()))


def _add_open(look: Look, topic: str, found: dict[Place, Partition]) -> None:
    ((newest,),) = look.rows("pane_counts", _NEWEST, {"topic": topic})
    if newest is None:
        return
    for partition, settled, open_ in look.rows("pane_counts", _OPEN, {"topic": topic, "since": newest - OPEN_MS}):
        found[topic, partition].settled, found[topic, partition].open = settled, int(open_)


_FIELDS = (
    Field("topic", Said()),
    Field("partition", Whole(0)),
    Field("applied", Whole(0), "Events that the metrics are made of."),
    Field("open", Whole(0), "Those of them whose minute is not final yet."),
    Field("late", Whole(0), "Events kept aside: their minute was final."),
    Field("dead", Whole(0), "Records kept aside: they can't be used."),
    Field("settled", Whole(0), "Offsets below have their fate, and what came of it is here, but for the latest "
          "changes of open minutes."),
    Field("read", Whole(0), "Offsets below are in the views of orders and devices."),
    Field("probe_sent_at", Time(), "So old is the oldest that may be missing; null without probes.", nullable=True),
)  # fmt: skip
_SCHEMA = {
    "type": "object",
    "description": "The views' side of the books, and whether anything in it can't be.",
    "required": ["ok", "problems", "partitions"],
    "properties": {
        "ok": Flag().schema,
        "problems": {"type": "array", "items": {"type": "string"}},
        "partitions": {"type": "array", "items": reference("PartitionBooks")},
    },
    "additionalProperties": False,
}


def problems_of(books: dict[Place, Partition]) -> list[str]:
    """Return what can't be, a sentence each."""
    return [f"{topic}/{number} {why}" for (topic, number), place in books.items() for why in place.problems]


def _read(look: Look, _arguments: Arguments) -> dict[str, Any]:
    books = read_books(look)
    found = [
        record(_FIELDS, (*place, kept.applied, kept.open, kept.late, kept.dead, kept.settled, kept.read, kept.probe_ms))
        for place, kept in books.items()
    ]
    problems = problems_of(books)
    return {"ok": not problems, "problems": problems, "partitions": found}


ENDPOINTS = (
    Endpoint(
        "/api/books", "getBooks", "What the views hold of each source partition, and what in it can't be.", (),
        reference("Books"), _read,
        {"Books": _SCHEMA, "PartitionBooks": schema_of(_FIELDS, "What the views hold of a source partition.")},
    ),
)  # fmt: skip
