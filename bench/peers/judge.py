"""Whether a peer's answers are right: pure.

A group is a window of a minute and a country or a device. Groups whose window the end of the log leaves open are not
judged when they are missing: a system that gives closed windows alone may not give them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from bench.peers.task import GRACE_MS, MINUTE_MS
from bench.stock_job import TABLES

Group = tuple[int, str]
Totals = tuple[int, ...]
MEASURES = {"orders": ("count", "sum"), "telemetry": ("count", "sum", "min", "max")}


@dataclass(frozen=True)
class Verdict:
    """Groups by outcome; and events: those in the answers (``counted``), those that should be there (``due``)."""

    right: int
    wrong: int
    """Another number than the truth, or a group that there is not."""
    missing: int
    open: int
    """Not given, and not to be given yet."""
    counted: int
    due: int

    @property
    def all_right(self) -> bool:
        """Whether every group that is due is there, and right."""
        return not self.wrong and not self.missing

    @property
    def share_counted(self) -> float:
        """Events in the answers for each event that should be there; 1 when there is nothing to judge."""
        return self.counted / self.due if self.due else 1.0

    def told(self) -> str:
        """Return it in words."""
        later = f"; {self.open:,} windows still open" if self.open else ""
        due = self.right + self.wrong + self.missing
        if not due:
            return "nothing to judge: every window is still open"
        if self.all_right:
            return f"all {due:,} right{later}"
        parts = [f"{self.wrong:,} of {due:,} wrong"] if self.wrong else []
        parts += [f"{self.missing:,} of {due:,} missing"] if self.missing else []
        return f"{', '.join(parts)}; {self.share_counted:.0%} of the events counted{later}"


def true_answers(job: str, truth: Mapping[str, pl.DataFrame]) -> dict[Group, Totals]:
    """Return the truth of a load by group."""
    metric, key, measures = TABLES[job]
    rows = truth[metric].select("pane_start", key, *measures).iter_rows()
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def given_answers(job: str, values: Iterable[bytes | None]) -> dict[Group, Totals]:
    """Return a peer's answers by group, in the order in which it gave them: the last one of a group counts."""
    found: dict[Group, Totals] = {}
    for value in values:
        row = json.loads(value or b"")
        found[row["pane"], row["key"]] = tuple(row[name] for name in MEASURES[job])
    return found


def judge(truth: Mapping[Group, Totals], given: Mapping[Group, Totals], newest_ms: int) -> Verdict:
    """Compare; ``newest_ms`` is an event time that every partition and group has reached."""
    absent = truth.keys() - given.keys()
    still_open = {group for group in absent if group[0] + MINUTE_MS + GRACE_MS > newest_ms}
    right = sum(given.get(group) == totals for group, totals in truth.items())
    return Verdict(
        right=right,
        wrong=len(given) - right,
        missing=len(absent - still_open),
        open=len(still_open),
        counted=sum(totals[0] for totals in given.values()),
        due=sum(totals[0] for group, totals in truth.items() if group not in still_open),
    )
