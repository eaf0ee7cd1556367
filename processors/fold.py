"""The fold of one partition: batches in, results, letters and the frontier out.

Pure: no clock, no network, no Faust. The rules are those of ``ARCHITECTURE.md``, "Time, panes and exactly once".
``P`` is the next offset to fold, ``R`` the first offset of any pane that is open at ``P``, ``M`` the largest event
time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl

from penstock.avro import INDEX, Decoded, Rejection
from penstock.frontier import Fates, Frontier
from penstock.metrics import Metric, Registers
from penstock.pipeline import ALLOWED_DISORDER_MS, MAX_AHEAD_MS, NO_TIME, PANE_MS, watermark
from processors.aggregate import OpenGroups, fold_together, merge_together, with_parents
from processors.fates import HEARTBEAT, PANE, SeenIds, judge
from processors.sketches import OpenRegisters

FOLD_ROWS = 10_000
"""Applied rows that wait to be folded together: a small batch would cost nearly as much as a large one."""


@dataclass(frozen=True)
class Records:
    """A stretch of one partition's log, as fetched: offsets ascending, append times in ms, decoded values."""

    offsets: Sequence[int]
    appended_ms: Sequence[int]
    decoded: Decoded


@dataclass
class Step:
    """What a stretch of the log brought. Positions are those of the stretch; ``final`` holds what closed; ``applied``
    has ``_index`` and ``_pane`` of each event that was applied."""

    fates: Fates = field(default_factory=Fates)
    late: pl.DataFrame | None = None
    dead: list[Rejection] = field(default_factory=list)
    final: list[tuple[Metric, pl.DataFrame]] = field(default_factory=list)
    applied: pl.DataFrame | None = None


class PartitionFold:
    """All state of one partition. Made anew for each generation, from the frontier that was committed."""

    def __init__(
        self, metrics: Sequence[Metric], frontier: Frontier, *, skip_torn_panes: bool = False
    ) -> None:
        """Start at ``frontier``. ``skip_torn_panes``: the log before ``frontier.start`` is gone and was never folded;
        panes that may have begun in it are skipped, their events are late."""
        self._restored = frontier
        self._skip_torn_panes = skip_torn_panes
        self._start_of_pane: dict[int, int] = {}
        self._seen = SeenIds()
        self._groups = [open_groups(metric) for metric in metrics]
        self._summed = [groups for groups in self._groups if isinstance(groups, OpenGroups)]
        self._registers = [groups for groups in self._groups if isinstance(groups, OpenRegisters)]
        self._unfolded: list[Mapping[str, pl.DataFrame]] = []
        self._rows_unfolded = 0
        self._of_records = _columns_of_records(metrics)
        self._fates = frontier.fates
        self.complete = False
        """If the open panes are whole again, as far as ``P``: until then there is nothing to say of them."""
        self.position = frontier.position
        self.newest_ms = frontier.newest_ms

    @property
    def refold_until(self) -> int:
        """``P`` of the frontier: below it nothing is counted or sent again."""
        return self._restored.position

    @property
    def restart_offset(self) -> int:
        """``R``: where to read from after a restart."""
        return min(self._start_of_pane.values(), default=self.position)

    @property
    def open_panes(self) -> int:
        """How many panes are open."""
        return len(self._start_of_pane)

    @property
    def frontier(self) -> Frontier:
        """What to commit together with :attr:`restart_offset`."""
        return replace(
            self._restored, position=self.position, newest_ms=self.newest_ms, fates=self._fates
        )

    def refold(self, records: Records) -> None:
        """Fold again what lies below ``P``: only what falls in panes that end after ``C``; count and send nothing.

        Such a pane was open at ``P``, so none of its events was late (nor looks so from the middle of the log, where
        ``M`` is not larger), and their first copies lie at ``R`` or behind it.
        """
        judged = judge(records.decoded, records.appended_ms, NO_TIME)
        still_open = pl.col(PANE) + PANE_MS > watermark(self._restored.newest_ms)
        self._apply(records, judged.candidates.filter(still_open))
        self.complete = records.offsets[-1] + 1 == self.refold_until

    def step(self, records: Records) -> Step:
        """Fold a stretch that begins at ``P`` or, where offsets are without a record, behind it."""
        if self._skip_torn_panes and self.newest_ms == NO_TIME:
            self.newest_ms = _behind_torn_panes(records.appended_ms[0])
        judged = judge(records.decoded, records.appended_ms, self.newest_ms)
        applied = self._apply(records, judged.candidates)
        passed = records.offsets[-1] + 1 - self.position
        fates = Fates(
            applied=len(applied),
            duplicate=len(judged.candidates) - len(applied),
            late=len(judged.late),
            dead=len(judged.dead),
            control=judged.heartbeats + passed - len(records.offsets),
        )
        self._fates += fates
        self.complete = True
        self.position = records.offsets[-1] + 1
        self.newest_ms = judged.newest_ms
        late = None if judged.late.is_empty() else judged.late
        return Step(fates, late, judged.dead, self._close_panes(), applied)

    def changed(self) -> list[tuple[Metric, pl.DataFrame]]:
        """Return the groups of open panes that changed since the last call."""
        self._fold()
        merge_together(self._summed)
        taken = ((groups.metric, groups.take_changed()) for groups in self._groups)
        return [(metric, rows) for metric, rows in taken if rows is not None]

    def _apply(self, records: Records, candidates: pl.DataFrame) -> pl.DataFrame:
        """Fold the first copies among ``candidates`` into the open panes, and return them."""
        applied = self._seen.first_copies(candidates)
        if applied.is_empty():
            return applied
        panes, firsts = np.unique(applied[PANE].to_numpy(), return_index=True)
        for pane, index in zip(panes.tolist(), applied[INDEX].to_numpy()[firsts].tolist(), strict=True):
            self._start_of_pane.setdefault(pane, records.offsets[index])
        self._unfolded.append(_sources(records.decoded, applied, self._of_records))
        self._rows_unfolded += len(applied)
        if self._rows_unfolded >= FOLD_ROWS:
            self._fold()
        return applied

    def _fold(self) -> None:
        """Fold what was applied into the groups."""
        if self._unfolded:
            sources = _joined(self._unfolded)
            self._unfolded, self._rows_unfolded = [], 0
            fold_together(self._summed, sources)
            for registers in self._registers:
                registers.fold(sources)

    def _close_panes(self) -> list[tuple[Metric, pl.DataFrame]]:
        ended = [pane for pane in self._start_of_pane if pane + PANE_MS <= watermark(self.newest_ms)]
        if not ended:
            return []
        for pane in ended:
            del self._start_of_pane[pane]
            self._seen.forget(pane)
        self._fold()
        merge_together(self._summed)
        taken = ((groups.metric, groups.take_final(watermark(self.newest_ms))) for groups in self._groups)
        return [(metric, rows) for metric, rows in taken if rows is not None]


def _joined(batches: Sequence[Mapping[str, pl.DataFrame]]) -> Mapping[str, pl.DataFrame]:
    """Return the rows of batches by source."""
    if len(batches) == 1:
        return batches[0]
    by_source: dict[str, list[pl.DataFrame]] = {}
    for batch in batches:
        for name, rows in batch.items():
            by_source.setdefault(name, []).append(rows)
    return {name: pl.concat(parts) for name, parts in by_source.items()}


def open_groups(metric: Metric) -> OpenGroups | OpenRegisters:
    """Return what holds the groups of a metric."""
    sketch = metric.sketch
    return OpenRegisters(metric, sketch) if isinstance(sketch, Registers) else OpenGroups(metric)


def _behind_torn_panes(first_appended_ms: int) -> int:
    """Return an ``M`` whose watermark closes every pane that may have begun before the log does."""
    torn_until = first_appended_ms + MAX_AHEAD_MS
    return -(-torn_until // PANE_MS) * PANE_MS + ALLOWED_DISORDER_MS


def _columns_of_records(metrics: Sequence[Metric]) -> set[str]:
    """Return the columns of records that measures of their items may read, by name."""
    named = {name for metric in metrics for measure in metric.measures for name in (measure.column, measure.times)}
    return named | {name for metric in metrics for name in metric.group} | {PANE, "occurred_at", "event_id"}


def _sources(decoded: Decoded, applied: pl.DataFrame, of_records: set[str]) -> Mapping[str, pl.DataFrame]:
    """Return the applied rows by source, with their panes; items also have the columns ``of_records``."""
    records = {
        name: with_parents(rows, applied, [PANE]) for name, rows in decoded.records.items() if name != HEARTBEAT
    }
    items = {}
    for name, rows in decoded.items.items():
        parent = records[name.split(".")[0]]
        columns = [column for column in parent.columns if column in of_records and column not in rows.columns]
        items[name] = with_parents(rows, parent, columns)
    return {**records, **items, "*": applied}
