"""Quantiles and distinct counts by window: what the relations of the same names estimate, of the minutes asked for."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any, ClassVar

from consumers.serving.endpoints import Arguments, Field
from consumers.serving.kinds import Reading, Said, Whole
from consumers.serving.pages import Key
from consumers.serving.windows import DAY_MS, Windows
from consumers.view_files import View, load_views

_RELATIONS = {"minute": "", "hour": "_by_hour", "day": "_by_day"}


@dataclass(frozen=True)
class Estimates(Windows):
    """The windows of a sketch: an estimate is no sum of the view's rows, so the relation's own ``SELECT`` makes it."""

    # A minute may have thousands of rows.
    spans_ms: ClassVar = {"minute": DAY_MS // 24, "hour": DAY_MS, "day": 7 * DAY_MS}
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

    def query(
        self, arguments: Arguments, newest_ms: int, after: tuple[Any, ...] | None
    ) -> tuple[str, dict[str, Any]]:
        """See :meth:`Windows.query`."""
        asked, where, bound = self.asked(arguments, newest_ms, after)
        table = f"{{{self.view}}}"
        relation = _views()[self.view].reads[self.view + _RELATIONS[arguments["window"]]]
        found = relation.replace(f"FROM {table}", f"FROM (SELECT * FROM {table} WHERE {asked}) AS asked")  # noqa: S608
        columns = ", ".join(item.source for item in self.fields)
        order = ", ".join(f"{item.column}{' DESC' if item.descending else ''}" for item in self.key)
        return f"SELECT {columns} FROM ({found}) AS found {where} ORDER BY {order} LIMIT :rows", bound  # noqa: S608


@cache
def _views() -> dict[str, View]:
    return load_views()


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
