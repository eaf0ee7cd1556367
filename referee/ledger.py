"""The ledger: what ``penstock books`` holds side by side, and what may not differ. Pure.

Nothing of the log is read. A page is one source partition: its frontier, the broker's offsets, and the rows that the
views keep of it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from penstock.frontier import Fates, Frontier
from penstock.pipeline import ALLOWED_DISORDER_MS, NO_TIME, PANE_MS
from referee.ledger_truth import Truth


def first_open_pane_ms(newest_ms: int) -> int:
    """Return from which start on panes can be open where ``newest_ms`` is the newest event time."""
    return newest_ms - ALLOWED_DISORDER_MS - PANE_MS + 1 if newest_ms != NO_TIME else NO_TIME


@dataclass(frozen=True)
class Kept:
    """What the views hold of one source partition, at a cut whose frontier is ``P``.

    ``late`` and ``dead`` count the letters of offsets below ``P``, by key; ``final`` sums the applied events of the
    panes that ended by then. ``early`` sums those of the panes still open whose row was sent at or before ``P``;
    ``ahead`` of the rows that were sent behind it, at ``ahead_to`` at most.
    """

    late: int
    dead: int
    final: int
    early: int = 0
    ahead: int = 0
    ahead_to: int = 0

    @property
    def applied(self) -> int:
        """All applied events that the views show."""
        return self.final + self.early + self.ahead


@dataclass(frozen=True)
class Page:
    """One source partition. ``restart`` is ``R``, None before the first commit; ``kept`` None: the views are behind."""

    topic: str
    partition: int
    frontier: Frontier
    restart: int | None
    log_start: int
    log_end: int
    kept: Kept | None = None

    @property
    def in_flight(self) -> int:
        """Offsets of the log that are not settled."""
        return self.log_end - self.frontier.position

    @property
    def open_applied(self) -> int:
        """Applied events of panes that are still open, by the frontier and the views' final rows."""
        return self.frontier.fates.applied - (self.kept.final if self.kept else 0)

    @property
    def early_gap(self) -> int:
        """Applied events below ``P`` of open panes that the views do not show yet (below 0: they show later ones)."""
        return self.open_applied - self.kept.early - self.kept.ahead if self.kept else 0

    def problems(self) -> list[str]:
        """Return what can't be so, a sentence each; nothing where the books are right."""
        found = [*self._of_offsets(), *(self._of_views(self.kept) if self.kept else ())]
        return [f"{self.topic}/{self.partition}: {sentence}" for sentence in found]

    def _of_offsets(self) -> list[str]:
        frontier, restart, found = self.frontier, self.restart, []
        if frontier.imbalance:
            found.append(f"{frontier.imbalance:,} of the offsets passed have no fate: the books are out of balance")
        if min(asdict(frontier.fates).values()) < 0:
            found.append("a fate is counted below 0")
        if restart is None:
            return found
        if not frontier.start <= restart <= frontier.position:
            books = f"[{frontier.start:,}, {frontier.position:,}]"
            found.append(f"offset to restart from {restart:,} is not within {books}")
        if restart < self.log_start:
            found.append(
                f"the log begins at {self.log_start:,}, behind the offset to restart from {restart:,}: "
                "a processor that restarts will stop, since input was lost"
            )
        return found

    def _of_views(self, kept: Kept) -> list[str]:
        fates, found = self.frontier.fates, []
        for name, have, said in (("late events", kept.late, fates.late), ("dead letters", kept.dead, fates.dead)):
            if have != said:
                found.append(f"the views keep {have:,} {name} by key, the frontier counts {said:,}")
        restart = self.frontier.position if self.restart is None else self.restart
        room = max(0, self.frontier.position - restart)
        if not 0 <= self.open_applied <= room:
            found.append(
                f"the final panes of the views hold {kept.final:,} applied events, the frontier counts "
                f"{fates.applied:,}, of which at most {room:,} can be in open panes"
            )
        elif kept.early > self.open_applied or -self.early_gap > max(0, kept.ahead_to - self.frontier.position):
            found.append(
                f"the open panes of the views hold {kept.early + kept.ahead:,} applied events, the frontier counts "
                f"{self.open_applied:,} of them"
            )
        return found

    def as_json(self) -> dict[str, Any]:
        """Return the page as plain values."""
        frontier, kept = self.frontier, self.kept
        return {
            "topic": self.topic, "partition": self.partition, "start": frontier.start, "position": frontier.position,
            "fates": asdict(frontier.fates), "imbalance": frontier.imbalance, "in_flight": self.in_flight,
            "newest_ms": None if frontier.newest_ms == NO_TIME else frontier.newest_ms,
            "restart": self.restart, "log_start": self.log_start, "log_end": self.log_end,
            "views": None if kept is None else {**asdict(kept), "applied": kept.applied, "early_gap": self.early_gap},
            "problems": self.problems(),
        }  # fmt: skip


@dataclass(frozen=True)
class Ledger:
    """All pages; ``views_behind`` says why the views' side is missing, if it is; ``truth`` the producers' word."""

    pages: Sequence[Page]
    truth: Truth | None = None
    views_behind: str = ""

    @property
    def in_flight(self) -> int:
        """Offsets of all logs that are not settled."""
        return sum(page.in_flight for page in self.pages)

    def fates(self, topic: str) -> Fates:
        """Return the fates of a topic, over its partitions."""
        return sum((page.frontier.fates for page in self.pages if page.topic == topic), Fates())

    @property
    def topics(self) -> list[str]:
        """The source topics."""
        return list(dict.fromkeys(page.topic for page in self.pages))

    def records(self, topic: str) -> int:
        """Return how many records were ever appended to a topic."""
        return sum(page.log_end for page in self.pages if page.topic == topic)

    def problems(self) -> list[str]:
        """Return all that can't be so, a sentence each."""
        found = [sentence for page in self.pages for sentence in page.problems()]
        return found + (self._of_truth(self.truth) if self.truth else [])

    def _of_truth(self, truth: Truth) -> list[str]:
        found = []
        for topic in truth.topics:
            if topic not in self.topics:
                found.append(f"truth: topic {topic!r} is none of {', '.join(self.topics)}")
        for topic in self.topics:
            told, have = truth.of(topic), self.records(topic)
            if have < told.acknowledged:
                gone = told.acknowledged - have
                found.append(f"{topic}: {told.acknowledged:,} acknowledged, the log has {have:,}: {gone:,} are lost")
            elif have > told.sent:
                found.append(
                    f"{topic}: the log has {have:,} records, by these files {told.sent:,} were sent: "
                    "is a producer's truth missing, or is it still at work?"
                )
            elif self.in_flight == 0 and have == told.acknowledged:
                found += self._of_fates(topic, told.fates)
        return found

    def _of_fates(self, topic: str, told: Fates) -> list[str]:
        meant, counted = asdict(told), asdict(self.fates(topic))
        return [
            f"{topic}: {counted[fate]:,} {fate}, the producers meant {count:,}"
            + (" (several producers' clocks may differ by more than the allowed disorder)" if fate == "late" else "")
            for fate, count in meant.items()
            if counted[fate] != count
        ]

    @property
    def balanced(self) -> bool:
        """Whether all that was looked at is as it must be."""
        return not self.problems() and not self.views_behind

    def as_json(self) -> dict[str, Any]:
        """Return the ledger as plain values."""
        return {
            "balanced": self.balanced,
            "in_flight": self.in_flight,
            "views_behind": self.views_behind or None,
            "partitions": [page.as_json() for page in self.pages],
            "topics": {
                topic: {
                    "records": self.records(topic),
                    "fates": asdict(self.fates(topic)),
                    "truth": self.truth.of(topic).as_json() if self.truth else None,
                }
                for topic in self.topics
            },
            "problems": self.problems(),
        }
