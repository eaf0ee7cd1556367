"""The books of a source partition: what its processor says, beside what the log says. Pure."""

from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from penstock.frontier import Fates, Frontier
from penstock.pipeline import NO_TIME
from referee.compare import Differences

BOOKS = "books"


@dataclass(frozen=True)
class Book:
    """The books of [``frontier.start``, ``frontier.position``) of one partition.

    ``log_start`` and ``log_end`` are the log's when it was read; ``recounted`` is None where the log no longer
    holds all of it.
    """

    topic: str
    partition: int
    frontier: Frontier
    log_start: int
    log_end: int
    recounted: Fates | None

    @property
    def gone(self) -> int:
        """Offsets of the books that the log no longer holds."""
        return max(0, min(self.log_start, self.frontier.position) - self.frontier.start)

    @property
    def settled(self) -> int:
        """Offsets that the books speak of."""
        return self.frontier.position - self.frontier.start

    def as_json(self) -> dict[str, Any]:
        """Return the books as plain values."""
        return {
            "topic": self.topic,
            "partition": self.partition,
            "start": self.frontier.start,
            "position": self.frontier.position,
            "log_start": self.log_start,
            "log_end": self.log_end,
            "newest_ms": self.frontier.newest_ms,
            "fates": asdict(self.frontier.fates),
            "recounted": None if self.recounted is None else asdict(self.recounted),
            "imbalance": self.frontier.imbalance,
        }


class Newest(Protocol):
    """The newest event time of a partition, as recomputed."""

    @property
    def newest_at_start_ms(self) -> int:
        """``M`` where reading began."""

    def newest_ms(self, position: int) -> int:
        """Return ``M`` at ``position``."""


def audit(book: Book, settled: Newest, differences: Differences) -> None:
    """Add to ``differences`` what the frontier says otherwise than the log: each fate, the balance, ``M``."""
    frontier, key = book.frontier, f"{book.topic}/{book.partition}"
    if frontier.imbalance:
        differences.say(BOOKS, key, "imbalance", frontier.imbalance, 0)
    if book.recounted is not None:
        for entry in fields(Fates):
            said, counted = getattr(frontier.fates, entry.name), getattr(book.recounted, entry.name)
            if said != counted:
                differences.say(BOOKS, key, entry.name, said, counted)
    newest_ms = settled.newest_ms(frontier.position)
    # Where the log's beginning is gone, M is known only if what is left has moved it.
    known = book.recounted is not None or newest_ms > settled.newest_at_start_ms
    if known and frontier.newest_ms != newest_ms:
        differences.say(BOOKS, key, "newest_ms", _time(frontier.newest_ms), _time(newest_ms))


def _time(newest_ms: int) -> object:
    return "none" if newest_ms == NO_TIME else newest_ms


def unproved_share(books: list[Book]) -> float:
    """Return the share of all settled offsets that the log no longer holds: what can't be proved."""
    settled = sum(book.settled for book in books)
    return sum(book.gone for book in books) / settled if settled else 0.0
