"""What the live page shows, section by section: the queries, and the shape that goes out.

A section is a JSON object without nulls, so that a merge patch (RFC 7396) can tell of any change. Amounts are integers
of 1/10,000, readings numbers, times milliseconds since 1970. Nothing in it depends on the clock: what is old or silent
is for the reader to say.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consumers.serving import books
from consumers.serving.look import Look

MINUTE_MS = 60_000
DAY_MS = 86_400_000
CHART_MINUTES = 60
SPARK_MINUTES = 30
MAX_DEVICES = 60
MAX_PRODUCTS = 10
MAX_COUNTRIES = 12
SILENT_MS = 120_000
"""A device is silent when its last reading is so much older than the newest of all."""

_MINUTES = """SELECT window_start, CAST(sum(orders) AS BIGINT), CAST(sum(revenue_e4) AS BIGINT),
  CAST(sum(cancellations) AS BIGINT), min(final)
FROM {order_metrics} WHERE window_start > :since GROUP BY window_start ORDER BY window_start"""
_TODAY = """SELECT country, CAST(sum(orders) AS BIGINT) AS orders, CAST(sum(revenue_e4) AS BIGINT),
  CAST(sum(units) AS BIGINT), CAST(sum(cancellations) AS BIGINT), CAST(sum(cancelled_e4) AS BIGINT)
FROM {order_metrics} WHERE window_start >= :since GROUP BY country ORDER BY 3 DESC, country"""
_PRODUCTS = """SELECT sku, CAST(sum(units) AS BIGINT), CAST(sum(revenue_e4) AS BIGINT)
FROM {product_sales} WHERE window_start > :since GROUP BY sku ORDER BY 3 DESC, sku LIMIT :rows"""
_STATUSES = "SELECT status, count(*) FROM orders GROUP BY status"
_POINTS = """SELECT device_id, sensor, window_start, CAST(sum(sum_e6) AS DOUBLE PRECISION) / sum(readings)
FROM {telemetry_metrics} WHERE window_start > :since AND device_id IN (%s)
GROUP BY window_start, sensor, device_id"""
_NEWEST_READING = "SELECT max(reading_at) FROM {device_readings}"
_FLEET = """SELECT count(DISTINCT device_id), count(DISTINCT CASE WHEN reading_at < :silent THEN device_id END)
FROM {device_readings}"""
_LOW = "SELECT count(*) FROM {devices} WHERE battery_low_at > :since"
_DEVICES = """SELECT device_id, sensor, value_e6, unit, reading_at_ms, connected_at_ms, firmware, battery_percent,
  battery_low_at_ms
FROM devices WHERE device_id IN (SELECT device_id FROM devices GROUP BY device_id
  ORDER BY CASE WHEN max(reading_at_ms) < :silent OR max(battery_low_at_ms) > :since THEN 0 ELSE 1 END, device_id
  LIMIT :rows) ORDER BY device_id, sensor"""

Shape = dict[str, Any]


@dataclass(frozen=True)
class Section:
    """A part of what is shown, read anew when one of the views that it is made of moved."""

    name: str
    views: tuple[str, ...]
    read: Callable[[Look], Shape]
    moved_by: tuple[str, ...] = ()
    """Views that it shows as well, if they are kept."""


def _minutes(look: Look) -> Shape:
    newest = look.newest_window("order_metrics")
    if newest is None:
        return {}
    rows = look.rows("order_metrics", _MINUTES, {"since": newest - CHART_MINUTES * MINUTE_MS})
    return {str(row[0]): [int(value) for value in row[1:]] for row in rows}


def _today(look: Look) -> Shape:
    newest = look.newest_window("order_metrics")
    if newest is None:
        return {}
    day = newest // DAY_MS * DAY_MS
    rows = look.rows("order_metrics", _TODAY, {"since": day})
    orders, revenue_e4, units, cancellations, cancelled_e4 = (
        sum(int(row[column]) for row in rows) for column in range(1, 6)
    )
    countries = [[row[0], int(row[1]), int(row[2])] for row in rows[:MAX_COUNTRIES]]
    return {
        "day": day, "orders": orders, "revenue_e4": revenue_e4, "units": units, "cancellations": cancellations,
        "cancelled_e4": cancelled_e4, "countries": countries,
    }  # fmt: skip


def _products(look: Look) -> Shape:
    newest = look.newest_window("product_sales")
    if newest is None:
        return {}
    bound = {"since": newest - CHART_MINUTES * MINUTE_MS, "rows": MAX_PRODUCTS}
    return {"top": [[sku, int(units), int(e4)] for sku, units, e4 in look.rows("product_sales", _PRODUCTS, bound)]}


def _statuses(look: Look) -> Shape:
    return {status: int(count) for status, count in look.rows("orders", _STATUSES)}


def _devices(look: Look) -> Shape:
    """Return the devices that are shown (those with trouble first), and counts of all."""
    ((newest,),) = look.rows("devices", _NEWEST_READING)
    if newest is None:
        return {}
    silent, since = newest - SILENT_MS, newest - DAY_MS
    ((count, silent_count),) = look.rows("devices", _FLEET, {"silent": silent})
    ((low,),) = look.rows("devices", _LOW, {"since": since})
    found: Shape = {}
    for row in look.rows("devices", _DEVICES, {"silent": silent, "since": since, "rows": MAX_DEVICES}):
        known = {"connected": row[5], "firmware": row[6], "battery": row[7], "battery_low": row[8]}
        device = found.setdefault(row[0], {name: value for name, value in known.items() if value is not None})
        if row[1] is not None:
            sensor = {"value": float(row[2]) / 1_000_000, "unit": row[3], "at": row[4]}
            device.setdefault("sensors", {})[row[1]] = sensor
    return {
        "all": int(count), "silent": int(silent_count), "low": int(low), "newest": newest, "shown": found,
        "points": _points(look, list(found)),
    }  # fmt: skip


def _points(look: Look, devices: list[str]) -> Shape:
    """Return the mean by minute of the devices' readings, by ``DEVICE/SENSOR`` and minute."""
    newest = look.newest_window("telemetry_metrics") if look.has("telemetry_metrics") else None
    if newest is None or not devices:
        return {}
    bound: dict[str, Any] = {f"device_{number}": device for number, device in enumerate(devices)}
    sql = _POINTS % ", ".join(f":{name}" for name in bound)
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for device, sensor, start, mean in look.rows(
        "telemetry_metrics", sql, {**bound, "since": newest - SPARK_MINUTES * MINUTE_MS}
    ):
        found[f"{device}/{sensor}"][str(start)] = float(f"{float(mean) / 1_000_000:.6g}")
    return dict(found)


def _books(look: Look) -> Shape:
    found = books.read_books(look)
    partitions = {}
    for (topic, number), kept in found.items():
        partitions[f"{topic}/{number}"] = {
            "applied": kept.applied, "open": kept.open, "late": kept.late, "dead": kept.dead,
            "settled": kept.settled, "read": kept.read,
            **({} if kept.probe_ms is None else {"probe": kept.probe_ms}),
        }  # fmt: skip
    return {"partitions": partitions, "problems": books.problems_of(found)}


SECTIONS = (
    Section("minutes", ("order_metrics",), _minutes),
    Section("today", ("order_metrics",), _today),
    Section("products", ("product_sales",), _products),
    Section("statuses", ("orders",), _statuses),
    Section("devices", ("devices",), _devices, ("telemetry_metrics",)),
    Section("books", books.VIEWS, _books, ("freshness", "orders", "devices")),
)
