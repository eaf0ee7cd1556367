"""Metrics by window: minutes as the processors fold them, hours and days as sums of minutes."""

from dataclasses import dataclass
from typing import Any, ClassVar

from consumers.serving.endpoints import Arguments, Endpoint, Field, Parameter, record, schema_of
from consumers.serving.kinds import Choice, Flag, Money, Reading, Said, Text, Time, Whole
from consumers.serving.look import Look
from consumers.serving.pages import CURSOR, LIMIT, Key, after_cursor, behind, page, page_schema

LENGTHS_MS = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000}
DAY_MS = LENGTHS_MS["day"]

_START = Field("window_start", Time(), "Event time; windows are as long as `window` says.")
_FINAL = Field("final", Flag(), "Whether each part of it that is here can no longer change.")
_COUNT = Whole(0)


@dataclass(frozen=True)
class Windows:
    """The windows of one metric: what groups it, and its measures as sums of the view's rows, by field."""

    path: str
    operation: str
    name: str
    about: str
    view: str
    group: tuple[Field, ...]
    measures: tuple[tuple[Field, str], ...]
    ranked: str = ""
    """Columns to order a group's rows by, newest first, if a measure asks for ``place = 1``."""

    spans_ms: ClassVar = {"minute": DAY_MS, "hour": 31 * DAY_MS, "day": 3_660 * DAY_MS}
    """How far back a list goes that names no ``since``: so its cost is bounded, however long the views are kept."""
    reach: ClassVar = "the newest day of minutes, 31 days of hours, or 10 years of days"

    @property
    def fields(self) -> tuple[Field, ...]:
        """All fields, in order."""
        return (_START, *self.group, *(item for item, _ in self.measures), _FINAL)

    @property
    def key(self) -> tuple[Key, ...]:
        """Newest window first, then by group."""
        return (Key("window_start", int, descending=True), *(Key(item.name, str) for item in self.group))

    def endpoint(self) -> Endpoint:
        """Return the endpoint of this list."""
        parameters = (
            Parameter("window", Choice(tuple(LENGTHS_MS)), "How long a window is.", default="minute"),
            Parameter(
                "since", Time(), f"Only windows that begin at this time or later; else {self.reach}.",
            ),
            Parameter("until", Time(), "Only windows that begin before this time."),
            *(Parameter(item.name, Text(), f"Only of this {item.name}.", f"{item.name} = :{item.name}")
              for item in self.group),
            LIMIT, CURSOR,
        )  # fmt: skip
        schemas = {self.name: schema_of(self.fields, self.about)}
        return Endpoint(
            self.path, self.operation, self.about, parameters, page_schema(self.name), self._read, schemas
        )

    def _read(self, look: Look, arguments: Arguments) -> dict[str, Any]:
        after = after_cursor(arguments, self.key)
        newest = look.newest_window(self.view)
        if newest is None:
            return page(self.path, [], [], arguments)
        sql, bound = self._query(look, arguments, newest, after)
        rows = look.rows(self.view, sql, bound)
        size = len(self.key)
        return page(self.path, [record(self.fields, row) for row in rows], [row[:size] for row in rows], arguments)

    def _query(
        self, look: Look, arguments: Arguments, newest_ms: int, after: tuple[Any, ...] | None
    ) -> tuple[str, dict[str, Any]]:
        """Return the query of a page, and what is bound in it. It reads no minute outside of the page's range."""
        length = LENGTHS_MS[arguments["window"]]
        since, until = arguments["since"], arguments["until"]
        bound: dict[str, Any] = {
            "since": _up(newest_ms - self.spans_ms[arguments["window"]] if since is None else since, length),
            "until": _up(newest_ms + 1 if until is None else until, length),
            "rows": arguments["limit"] + 1,
        }
        conditions = ["window_start >= :since", "window_start < :until"]
        for item in self.group:
            if arguments[item.name] is not None:
                conditions.append(f"{item.name} = :{item.name}")
                bound[item.name] = arguments[item.name]
        where = ""
        if after is not None:
            bound["until"] = min(bound["until"], after[0] + length)
            bound |= {f"key_{number}": value for number, value in enumerate(after)}
            where = f"WHERE {behind(self.key)}"
        found = self.found(look, length, " AND ".join(conditions))
        columns = ", ".join(item.source for item in self.fields)
        order = ", ".join(f"{item.column}{' DESC' if item.descending else ''}" for item in self.key)
        return f"SELECT {columns} FROM ({found}) AS found {where} ORDER BY {order} LIMIT :rows", bound  # noqa: S608

    def found(self, look: Look, length_ms: int, asked: str) -> str:
        """Return the query of all windows of a length that the minutes with the condition ``asked`` make."""
        # Whole numbers: the quotient is cut, in both databases.
        start = f"window_start / {length_ms} * {length_ms}"
        names = ", ".join(item.name for item in self.group)
        place = f", row_number() OVER (PARTITION BY {start}, {names} ORDER BY {self.ranked}) AS place"
        measures = ", ".join(f"{sql} AS {item.source}" for item, sql in self.measures)
        return (
            f"SELECT start AS window_start, {names}, {measures}, min(final) AS final FROM "  # noqa: S608
            f"(SELECT *, {start} AS start{place if self.ranked else ''} FROM {{{self.view}}} "
            f"WHERE {asked}) AS part GROUP BY start, {names}"
        )


def _up(moment_ms: int, length_ms: int) -> int:
    """Return the first start of a window at or after the moment."""
    return -(-moment_ms // length_ms) * length_ms


def _sum(column: str) -> str:
    return f"CAST(sum({column}) AS BIGINT)"


_ORDERS = Windows(
    "/api/order-metrics", "listOrderMetrics", "OrderMetrics", "Orders by window and country; late events not counted.",
    "order_metrics", (Field("country", Said()),),
    (
        (Field("orders", _COUNT), _sum("orders")),
        (Field("revenue", Money(), column="revenue_e4"), _sum("revenue_e4")),
        (Field("largest_order", Money(), column="largest_order_e4", nullable=True), "max(largest_order_e4)"),
        (Field("units", Whole()), _sum("units")),
        (Field("cancellations", _COUNT), _sum("cancellations")),
        (Field("cancelled", Money(), column="cancelled_e4"), _sum("cancelled_e4")),
    ),
)  # fmt: skip
_PRODUCTS = Windows(
    "/api/product-sales", "listProductSales", "ProductSales", "Sales by window and product; late events not counted.",
    "product_sales", (Field("sku", Said()),),
    (
        (Field("units", Whole()), _sum("units")),
        (Field("revenue", Money(), column="revenue_e4"), _sum("revenue_e4")),
    ),
)  # fmt: skip
_READINGS = Windows(
    "/api/telemetry-metrics", "listTelemetryMetrics", "TelemetryMetrics",
    "Readings by window, sensor and device; late events not counted.",
    "telemetry_metrics", (Field("sensor", Said()), Field("device_id", Said())),
    (
        (Field("readings", _COUNT), _sum("readings")),
        (Field("min", Reading(), column="min_e6"), "min(min_e6)"),
        (Field("max", Reading(), column="max_e6"), "max(max_e6)"),
        (Field("mean", Reading(), column="mean_e6"), "CAST(sum(sum_e6) AS DOUBLE PRECISION) / sum(readings)"),
        (Field("last", Reading(), column="last_e6"), "max(CASE WHEN place = 1 THEN last_e6 END)"),
    ),
    ranked="last_at DESC, last_event_id DESC",
)  # fmt: skip

ENDPOINTS = tuple(windows.endpoint() for windows in (_ORDERS, _PRODUCTS, _READINGS))
