"""What an explanation is: events, lines that hold the log beside the view, and what was read for it. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

EVENT = {
    "topic": pl.String, "partition": pl.Int64, "offset": pl.Int64, "appended_at": pl.Int64, "occurred_at": pl.Int64,
    "event_id": pl.String, "kind": pl.String, "fate": pl.String, "why": pl.String,
}  # fmt: skip
"""Columns of an event, before those of what it gives. ``why`` says more of the fate, in words."""

ABSENT = "absent"


@dataclass(frozen=True)
class Line:
    """One number or cell: what the log makes it, and what the view says. ``part`` is of what: a partition, a table."""

    part: str
    column: str
    by_log: Any
    in_view: Any
    source: str = ""

    @property
    def equal(self) -> bool:
        """Whether both say the same."""
        return bool(self.by_log == self.in_view)

    def as_json(self) -> dict[str, Any]:
        """Return the line as plain values."""
        return {
            "part": self.part, "column": self.column, "by_log": self.by_log, "in_view": self.in_view,
            "equal": self.equal, "source": self.source or None,
        }  # fmt: skip


@dataclass(frozen=True)
class Read:
    """What was read of a partition: [``start``, ``end``) of a log of [``low``, ``high``)."""

    topic: str
    partition: int
    start: int
    end: int
    low: int
    high: int


@dataclass
class Explanation:
    """The events behind one number, their sum beside the view's, and how much of the log was read."""

    view: str
    key: Mapping[str, Any]
    window: tuple[int, int] | None
    events: pl.DataFrame
    gives: tuple[str, ...]
    lines: list[Line] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether the view says what the log says."""
        return all(line.equal for line in self.lines)

    @property
    def records_read(self) -> int:
        """Offsets of the log that were read."""
        return sum(read.end - read.start for read in self.reads)

    @property
    def records_there(self) -> int:
        """Offsets of all logs that could have been read."""
        return sum(read.high - read.low for read in self.reads)

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as plain values; times are milliseconds."""
        return {
            "view": self.view,
            "key": dict(self.key),
            "window": None if self.window is None else {"start_ms": self.window[0], "end_ms": self.window[1]},
            "equal": self.equal,
            "events": [self._event(row) for row in self.events.iter_rows(named=True)],
            "lines": [line.as_json() for line in self.lines],
            "read": [vars(read) for read in self.reads],
            "notes": self.notes,
        }

    def _event(self, row: dict[str, Any]) -> dict[str, Any]:
        gives = {name: row.pop(name) for name in self.gives}
        return row | {"gives": {name: value for name, value in gives.items() if value is not None}}


def to_json(explanation: Explanation) -> str:
    """Return the explanation as one JSON document."""
    return json.dumps(explanation.as_json(), indent=1)
