"""The truth about a run: what was sent and acknowledged, by topic and fate; a test can hold the pipeline to it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from confluent_kafka import KafkaError

from producers.faults import DEAD, FATES, POISONS, Fate

SUMMED_FATES: tuple[Fate, ...] = ("applied", "late")

# What the metrics should say: how many, the sum of their amounts, and of their units.
_MEASURES = {
    "ReadingTaken": ("readings", "value_e6", None),
    "OrderPlaced": ("orders", "revenue_e4", "units"),
    "OrderCancelled": ("cancellations", "cancelled_e4", None),
}

Report = Callable[[KafkaError | None, object], None]
"""Takes the delivery report of a record."""


@dataclass
class Tally:
    """Counts of one kind of record: those handed to the client, and those that the broker has acknowledged."""

    sent: int = 0
    acknowledged: int = 0
    failure: KafkaError | None = None

    def delivered(self, error: KafkaError | None, _message: object) -> None:
        """Take a delivery report."""
        if error is None:
            self.acknowledged += 1
        else:
            self.failure = error


@dataclass
class TopicTruth:
    """What a run sent to one topic."""

    partitions: int
    tallies: dict[tuple[Fate, str], Tally] = field(default_factory=dict)
    """By fate and by record name, for poison by its kind."""
    sums: dict[Fate, Counter[str]] = field(default_factory=lambda: {fate: Counter() for fate in SUMMED_FATES})

    def tally(self, fate: Fate, kind: str) -> Tally:
        """Return the tally of records of one fate and kind."""
        found = self.tallies.get((fate, kind))
        if found is None:
            found = self.tallies[fate, kind] = Tally()
        return found

    def note(self, facts: npt.NDArray[np.void], records: Sequence[str]) -> list[Report]:
        """Count rows (of :data:`producers.rows.FACTS`) as sent, with their sums; return who takes the report of each.

        ``records`` are the names that the rows' records are places of.
        """
        kinds = np.where(facts["fate"] == DEAD, facts["poison"] + len(records), facts["record"])
        codes = facts["fate"].astype(np.int64) * (len(records) + len(POISONS)) + kinds
        names = (*records, *POISONS)
        reports = np.empty(len(FATES) * len(names), object)
        counts = np.bincount(codes, minlength=len(reports))
        for code in np.flatnonzero(counts).tolist():
            fate, kind = FATES[code // len(names)], names[code % len(names)]
            tally = self.tally(fate, kind)
            tally.sent += int(counts[code])
            reports[code] = tally.delivered
            if fate in SUMMED_FATES and kind in _MEASURES:
                self._sum(fate, kind, facts[codes == code])
        found: list[Report] = reports[codes].tolist()
        return found

    def _sum(self, fate: Fate, record: str, facts: npt.NDArray[np.void]) -> None:
        count, amount, units = _MEASURES[record]
        sums = self.sums[fate]
        sums[count] += len(facts)
        sums[amount] += int(facts["amount"].sum())
        if units is not None:
            sums[units] += int(facts["units"].sum())

    @property
    def sent(self) -> int:
        """Records handed to the client."""
        return sum(tally.sent for tally in self.tallies.values())

    @property
    def acknowledged(self) -> int:
        """Records that the broker has."""
        return sum(tally.acknowledged for tally in self.tallies.values())

    def as_json(self) -> dict[str, Any]:
        """Return the truth for a file.

        ``fates``, ``records`` and ``poison`` count acknowledged records. ``sent`` and ``sums`` are of all that was made
        to be sent: the same, once the run is complete.
        """
        fates: Counter[str] = Counter(dict.fromkeys(("applied", "duplicate", "late", "dead", "control"), 0))
        records: Counter[str] = Counter()
        poison: Counter[str] = Counter()
        for (fate, kind), tally in self.tallies.items():
            fates[fate] += tally.acknowledged
            (poison if fate == "dead" else records)[kind] += tally.acknowledged
        return {
            "partitions": self.partitions,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "fates": dict(fates),
            "records": dict(sorted(records.items())),
            "poison": dict(sorted(poison.items())),
            "sums": {fate: dict(sorted(sums.items())) for fate, sums in self.sums.items()},
        }


def document(title: str, seed: int | None, topics: Mapping[str, TopicTruth]) -> dict[str, Any]:
    """Return the whole truth. ``complete`` is false if anything that was sent was not acknowledged."""
    complete = all(truth.sent == truth.acknowledged for truth in topics.values())
    return {
        "command": title,
        "seed": seed,
        "complete": complete,
        "topics": {name: truth.as_json() for name, truth in topics.items()},
    }
