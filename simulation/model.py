"""The rules of the fold once more, told event by event in plain Python: what the processors are judged by.

Nothing here is imported from ``processors``. A log is a list of :class:`Entry`; :class:`Told` says what became of each
entry and what every result must be, at any offset.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from penstock.metrics import SLOTS, Buckets, Measure, Metric, Registers

PANE_MS = 60_000
DISORDER_MS = 10_000
AHEAD_MS = 300_000
NEVER = -(1 << 62)

Key = tuple[Any, ...]
"""A result's identity on one partition: the metric's name, the pane's start, and the group."""


@dataclass(frozen=True)
class Entry:
    """One record of a partition's log. ``event`` is None for bytes that nobody can read."""

    offset: int
    appended_ms: int
    record: str
    event: Mapping[str, Any] | None
    value: bytes


@dataclass
class Told:
    """What became of each entry: ``fates`` by offset, and ``newest_ms`` (``M``) behind it."""

    entries: Sequence[Entry]
    start: int = 0
    newest_at_start: int = NEVER
    fates: dict[int, str] = field(default_factory=dict)
    newest: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        newest = self.newest_at_start
        seen: set[tuple[int, str]] = set()
        for entry in self.entries:
            fate, newest = _settle(entry, newest, seen)
            self.fates[entry.offset] = fate
            self.newest[entry.offset] = newest

    def newest_at(self, position: int) -> int:
        """Return ``M`` when all below ``position`` is folded."""
        below = [entry.offset for entry in self.entries if entry.offset < position]
        return self.newest[below[-1]] if below else self.newest_at_start

    def counts_at(self, position: int) -> Counter[str]:
        """Return how many offsets of [start, position) had which fate; offsets without a record are control."""
        counts = Counter(self.fates[entry.offset] for entry in self.entries if entry.offset < position)
        recorded = counts.total()
        counts["control"] += max(position - self.start, 0) - recorded
        return counts

    def offsets(self, fate: str, position: int | None = None) -> set[int]:
        """Return the offsets below ``position`` that had this fate."""
        return {o for o, f in self.fates.items() if f == fate and (position is None or o < position)}

    def applied(self, position: int) -> list[Entry]:
        """Return the applied entries below ``position``."""
        return [e for e in self.entries if e.offset < position and self.fates[e.offset] == "applied"]

    def rows_at(
        self, metrics: Iterable[Metric], position: int, panes: Collection[int] | None = None
    ) -> dict[Key, dict[str, Any]]:
        """Return every result of the events below ``position`` in ``panes`` (None: in all), closed ones included."""
        applied = [e for e in self.applied(position) if panes is None or pane_of(e) in panes]
        return {key: row for metric in metrics for key, row in _rows(metric, applied).items()}

    def is_closed(self, pane: int, position: int) -> bool:
        """Say if a pane is final when all below ``position`` is folded."""
        return pane + PANE_MS <= self.newest_at(position) - DISORDER_MS

    def restart_offset(self, position: int) -> int:
        """Return ``R``: the first offset of any pane that is open at ``position``, or ``position``."""
        return min(
            (e.offset for e in self.applied(position) if not self.is_closed(pane_of(e), position)), default=position
        )


def pane_of(entry: Entry) -> int:
    """Return the start of an event's pane."""
    assert entry.event is not None
    return int(entry.event["occurred_at"]) // PANE_MS * PANE_MS


def _settle(entry: Entry, newest: int, seen: set[tuple[int, str]]) -> tuple[str, int]:
    if entry.event is None or entry.event["occurred_at"] > entry.appended_ms + AHEAD_MS:
        return "dead", newest
    behind = max(newest, entry.event["occurred_at"])
    if entry.record == "Heartbeat":
        return "control", behind
    pane = pane_of(entry)
    if pane + PANE_MS <= newest - DISORDER_MS:
        return "late", behind
    identity = (pane, entry.event["event_id"])
    if identity in seen:
        return "duplicate", behind
    seen.add(identity)
    return "applied", behind


def _rows(metric: Metric, applied: Sequence[Entry]) -> dict[Key, dict[str, Any]]:
    """Fold a metric; a row has every measure, None where nothing was measured."""
    groups: dict[Key, list[tuple[str, Entry, Mapping[str, Any]]]] = {}
    for entry in applied:
        for source, seen in _sources(metric, entry):
            values = _sketched(metric, seen)
            if values is None:
                continue
            key = (metric.name, pane_of(entry), *(values[name] for name in metric.group))
            groups.setdefault(key, []).append((source, entry, values))
    return {key: _measure_all(metric, members) for key, members in groups.items()}


def _sources(metric: Metric, entry: Entry) -> Iterable[tuple[str, Mapping[str, Any]]]:
    """Yield what the metric sees of an event: itself, its items, or just that it was."""
    assert entry.event is not None
    for source in {measure.source for measure in metric.measures}:
        record, _, array = source.partition(".")
        if source == "*":
            yield source, {}
        elif record == entry.record and array:
            for item in entry.event[array]:
                yield source, {**entry.event, **item}
        elif record == entry.record:
            yield source, entry.event


def _sketched(metric: Metric, values: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return an event with the columns of the metric's sketch; None if it is not in it."""
    sketch = metric.sketch
    if isinstance(sketch, Buckets):
        number = values[sketch.column]
        middle = _middle(abs(number), sketch.error_percent)
        return {**values, sketch.name: -middle if number < 0 else middle}
    if isinstance(sketch, Registers):
        text = values[sketch.column]
        if text is None:
            return None
        register, rank = _register_and_rank(text.encode())
        slots = {slot: rank if number == register % 32 else 0 for number, slot in enumerate(SLOTS)}
        return {**values, sketch.name: register // 32, **slots}
    return values


@lru_cache(10_000)
def _middle(number: int, error_percent: int) -> int:
    low = high = middle = 0
    while high < number:
        low = high + 1
        middle = low * (100 + error_percent) // 100
        high = middle * 100 // (100 - error_percent)
    return middle


def _register_and_rank(text: bytes) -> tuple[int, int]:
    number, size = 0x9E3779B97F4A7C15 ^ len(text), 1 << 64
    while text:
        number ^= sum(byte << 8 * place for place, byte in enumerate(text[:8]))
        text = text[8:]
        number = (number ^ number // 2**33) * 0xFF51AFD7ED558CCD % size
        number = (number ^ number // 2**33) * 0xC4CEB9FE1A85EC53 % size
        number ^= number // 2**33
    rank, below = 1, number // 2**11 % 2**39
    while rank < 40 and below < 2 ** (39 - rank):
        rank += 1
    return number // 2**50, rank


def _measure_all(metric: Metric, members: Sequence[tuple[str, Entry, Mapping[str, Any]]]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for measure in metric.measures:
        values = [values for source, _, values in members if source == measure.source]
        row |= _measured(measure, values)
    return row


def _measured(measure: Measure, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    if measure.aggregate == "count":
        return {measure.name: len(values)}
    if measure.aggregate == "sum":
        total = sum(v[measure.column] * (v[measure.times] if measure.times else 1) for v in values)
        return {measure.name: total}
    if measure.aggregate == "last":
        last = max(values, key=lambda v: (v["occurred_at"], v["event_id"]), default=None)
        return {
            measure.name: None if last is None else last[measure.column],
            "last_at": None if last is None else last["occurred_at"],
            "last_event_id": None if last is None else last["event_id"],
        }
    chosen = min if measure.aggregate == "min" else max
    return {measure.name: chosen((v[measure.column] for v in values), default=None)}
