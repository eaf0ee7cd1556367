"""Quantiles and distinct counts by window: what the relations of the same names estimate, of the minutes asked for."""

from dataclasses import dataclass, replace
from typing import ClassVar

from consumers.serving.endpoints import Field
from consumers.serving.kinds import Reading, Said, Whole
from consumers.serving.look import Look
from consumers.serving.pages import Key
from consumers.serving.windows import DAY_MS, LENGTHS_MS, Windows
from consumers.view_files import WINDOWS_MS

_ENDINGS = {length_ms: ending for ending, length_ms in WINDOWS_MS.items()}


@dataclass(frozen=True)
class Estimates(Windows):
    """The windows of a sketch: an estimate is no sum of the view's rows, so the relation's own ``SELECT`` makes it."""

    # A minute may have thousands of rows.
    spans_ms: ClassVar = {"minute": LENGTHS_MS["hour"], "hour": DAY_MS, "day": 7 * DAY_MS}
    reach: ClassVar = "the newest hour of minutes, day of hours, or week of days"

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, in order."""
        start, *others = super().fields
        return (replace(start, column="window_start_ms"), *others)

    @property
    def key(self) -> tuple[Key, ...]:
        """Newest window first, then by group."""
        _, *groups = super().key
        return (Key("window_start_ms", int, descending=True), *groups)

    def found(self, look: Look, length_ms: int, asked: str) -> str:
        """See :meth:`Windows.found`."""
        table, relation = f"FROM {{{self.view}}}", look.relation(self.view, self.view + _ENDINGS[length_ms])
        return relation.replace(table, f"FROM (SELECT * {table} WHERE {asked}) AS asked")


_QUANTILES = Estimates(
    "/api/reading-quantiles", "listReadingQuantiles", "ReadingQuantiles",
    "Quantiles of the readings by window and sensor, each within 1 % of it; late events not counted.",
    "reading_quantiles", (Field("sensor", Said()),),
    (
        (Field("readings", Whole(0)), ""),
        *((Field(name, Reading(), column=f"{name}_e6"), "") for name in ("p50", "p95", "p99")),
    ),
)  # fmt: skip
_CUSTOMERS = Estimates(
    "/api/distinct-customers", "listDistinctCustomers", "DistinctCustomers",
    "How many customers placed orders by window, with a standard error of 0.8 %; guests and late events not counted.",
    "distinct_customers", (), ((Field("customers", Whole(0)), ""),),
)  # fmt: skip

ENDPOINTS = tuple(windows.endpoint() for windows in (_QUANTILES, _CUSTOMERS))
