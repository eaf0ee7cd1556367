"""The truth about a run: what was sent and acknowledged, by topic and fate; a test can hold the pipeline to it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError

from producers.events import Event
from producers.faults import Fate, Planned

SUMMED_FATES: tuple[Fate, ...] = ("applied", "late")


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

    def note(self, planned: Planned) -> Tally:
        """Count a record as sent, with its sums, and return its tally."""
        event = planned.event
        tally = self.tally(planned.fate, planned.poison or event.record)
        tally.sent += 1
        if planned.fate in SUMMED_FATES:
            add_measures(self.sums[planned.fate], event)
        return tally

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


def add_measures(sums: Counter[str], event: Event) -> None:
    """Add what the metrics should say of ``event``."""
    fields = event.fields
    if event.record == "ReadingTaken":
        sums["readings"] += 1
        sums["value_e6"] += round(fields["value"] * 1_000_000)
    elif event.record == "OrderPlaced":
        sums["orders"] += 1
        sums["revenue_e4"] += fields["amount_e4"]
        sums["units"] += sum([item["quantity"] for item in fields["items"]])
    elif event.record == "OrderCancelled":
        sums["cancellations"] += 1
        sums["cancelled_e4"] += fields["amount_e4"]


def document(title: str, seed: int | None, topics: Mapping[str, TopicTruth]) -> dict[str, Any]:
    """Return the whole truth. ``complete`` is false if anything that was sent was not acknowledged."""
    complete = all(truth.sent == truth.acknowledged for truth in topics.values())
    return {
        "command": title,
        "seed": seed,
        "complete": complete,
        "topics": {name: truth.as_json() for name, truth in topics.items()},
    }
