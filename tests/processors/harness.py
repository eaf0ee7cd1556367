"""Running folds as the worker does, in pure Python: batches, early results, commits, crashes and restarts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from penstock.avro import Decoder
from penstock.frontier import Frontier
from penstock.metrics import Metric
from penstock.pipeline import NO_TIME, fingerprint
from processors.fates import PANE
from processors.fold import PartitionFold, Records
from simulation.model import Entry, Key

TOPIC_ID = "topic-id"


@dataclass
class Sent:
    """All that was sent, over all restarts: result rows with their ``next_offset``, and offsets by fate."""

    early: list[tuple[Key, int, dict[str, Any]]] = field(default_factory=list)
    final: list[tuple[Key, int, dict[str, Any]]] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    dead: list[int] = field(default_factory=list)


class Run:
    """One partition's folds. ``commits`` holds every (R, metadata) that could have been committed."""

    def __init__(
        self, metrics: Sequence[Metric], decoder: Decoder, log: Sequence[Entry], start: int = 0, skip_torn: bool = False
    ) -> None:
        self.metrics, self.decoder, self.log, self.skip_torn = metrics, decoder, log, skip_torn
        self.sent = Sent()
        self.commits = [(start, Frontier(TOPIC_ID, start, start, NO_TIME, fingerprint()).encode())]
        self.refolded = 0
        self.restart(0)

    def restart(self, commit: int) -> None:
        """Go on from an earlier commit, as after a crash: nothing but it is known."""
        self.reached, metadata = self.commits[commit]
        self.fold = PartitionFold(self.metrics, Frontier.decode(metadata), skip_torn_panes=self.skip_torn)

    def feed(self, count: int) -> bool:
        """Fold the next ``count`` records, split at ``P`` as the worker does; False at the end of the log."""
        batch = [entry for entry in self.log if entry.offset >= self.reached][:count]
        if not batch:
            return False
        below = [entry for entry in batch if entry.offset < self.fold.refold_until]
        if below:
            self.refolded += len(below)
            self.fold.refold(self._records(below))
        if above := batch[len(below) :]:
            self._step(above)
        self.reached = batch[-1].offset + 1
        return True

    def _step(self, batch: Sequence[Entry]) -> None:
        step = self.fold.step(self._records(batch))
        if step.late is not None:
            self.sent.late += [batch[index].offset for index in step.late["_index"]]
        self.sent.dead += [batch[rejection.position].offset for rejection in step.dead]
        for metric, rows in step.final:
            self.sent.final += keyed(metric, rows, self.fold.position)
        self.commits.append((self.fold.restart_offset, self.fold.frontier.encode()))

    def send_changed(self) -> None:
        """Send early results, unless it is still refolding."""
        if self.fold.complete:
            for metric, rows in self.fold.changed():
                self.sent.early += keyed(metric, rows, self.fold.position)

    def _records(self, batch: Sequence[Entry]) -> Records:
        decoded = self.decoder.decode([entry.value for entry in batch])
        return Records([entry.offset for entry in batch], [entry.appended_ms for entry in batch], decoded)


def keyed(metric: Metric, rows: pl.DataFrame, next_offset: int) -> list[tuple[Key, int, dict[str, Any]]]:
    """Return rows by their key, in the model's form."""
    names = [name for name in rows.columns if name != PANE and name not in metric.group]
    return [
        (
            (metric.name, row[PANE], *(row[name] for name in metric.group)),
            next_offset,
            {name: row[name] for name in names},
        )
        for row in rows.iter_rows(named=True)
    ]


def newest_rows(sent: Sequence[tuple[Key, int, Mapping[str, Any]]]) -> dict[Key, tuple[int, Mapping[str, Any]]]:
    """Return what a reader keeps: by key, the row with the largest next_offset."""
    kept: dict[Key, tuple[int, Mapping[str, Any]]] = {}
    for key, next_offset, row in sent:
        if key not in kept or next_offset >= kept[key][0]:
            kept[key] = (next_offset, row)
    return kept
