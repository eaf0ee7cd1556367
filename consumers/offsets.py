"""The offsets that a view was built from: stored beside it, moved by compare-and-set, checked at each start."""

from collections.abc import Iterable
from typing import NamedTuple

from consumers.stores import Transaction
from penstock.errors import ProtectiveStop

TABLE = """CREATE TABLE IF NOT EXISTS offsets (
  view {text} NOT NULL, version BIGINT NOT NULL, topic {text} NOT NULL, topic_id {text} NOT NULL,
  partition BIGINT NOT NULL, next BIGINT NOT NULL,
  PRIMARY KEY (view, version, topic, partition)
)"""

_INSERT = """INSERT INTO offsets (view, version, topic, topic_id, partition, next)
  VALUES (:view, :version, :topic, :topic_id, :partition, :new) ON CONFLICT DO NOTHING"""

_MOVE = """UPDATE offsets SET next = :new WHERE view = :view AND version = :version AND topic = :topic
  AND topic_id = :topic_id AND partition = :partition AND next = :expected"""

_LOAD = "SELECT view, topic, partition, topic_id, next FROM offsets WHERE version = :version"

DECIDES = (
    "to build the views again from what the log holds, start a new PENSTOCK_PIPELINE_VERSION; "
    "to go on without the lost records, set PENSTOCK_ACCEPT_TRIMMED_LOG=true"
)


class Place(NamedTuple):
    """A partition as one view reads it; ``topic`` is the logical name."""

    view: str
    topic: str
    partition: int

    def __str__(self) -> str:
        return f"view {self.view}, {self.topic}[{self.partition}]"


class Stored(NamedTuple):
    """What a view's table says of a place: the topic's id and the next offset to merge."""

    topic_id: str
    next: int


class Move(NamedTuple):
    """A step of a place from ``expected`` (None: nothing is stored yet) to ``new``, both next offsets."""

    place: Place
    topic_id: str
    expected: int | None
    new: int


def load(transaction: Transaction, version: int, views: Iterable[str]) -> dict[Place, Stored]:
    """Return what is stored for ``views`` in pipeline ``version``."""
    wanted = set(views)
    rows = transaction.fetch(_LOAD, {"version": version})
    return {Place(*row[:3]): Stored(*row[3:]) for row in rows if row[0] in wanted}


def advance(transaction: Transaction, version: int, move: Move) -> bool:
    """Make the move, if nobody else has moved the place: the fence. Return whether it was made."""
    place, topic_id, expected, new = move
    row = {**place._asdict(), "version": version, "topic_id": topic_id, "new": new}
    if expected is None:
        return transaction.execute(_INSERT, row) == 1
    return transaction.execute(_MOVE, {**row, "expected": expected}) == 1


def start_of(  # noqa: PLR0913  # all that a start depends on
    place: Place, stored: Stored | None, topic_id: str, low: int, high: int, *, accept_trimmed: bool
) -> int:
    """Return the offset to read ``place`` from; the log of topic ``topic_id`` holds [``low``, ``high``).

    Raises :class:`ProtectiveStop` when records between what is merged and what can be read are lost, unless they only
    went off the log's start and ``accept_trimmed`` is set.
    """
    if stored is not None and stored.topic_id != topic_id:
        raise ProtectiveStop(
            f"{place}: the topic was recreated: its id is {topic_id}, the view was built from {stored.topic_id}; what "
            f"was in the old one and not yet merged (from offset {stored.next}) is lost: "
            "start a new PENSTOCK_PIPELINE_VERSION"
        )
    merged = 0 if stored is None else stored.next
    if merged > high:
        raise ProtectiveStop(
            f"{place}: the view holds records up to offset {merged}, the log ends at {high}: "
            f"the broker lost the last {merged - high}, and may write others in their place; "
            "start a new PENSTOCK_PIPELINE_VERSION"
        )
    if merged < low and not accept_trimmed:
        raise ProtectiveStop(
            f"{place}: the log begins at offset {low}, the view needs {merged}: "
            f"{low - merged} offsets are lost; {DECIDES}"
        )
    return max(merged, low)
