"""What the views must hold, told record by record in plain Python. Nothing here is imported from ``consumers``.

A view is a function of the records below its offsets. Its tables are given as sets of rows.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from penstock.metrics import METRICS
from simulation.model import AHEAD_MS, Entry
from simulation.snapshots import Row

Fields = Mapping[str, Any]
Result = tuple[str, str, Fields]
"""A result as it stands on a topic: the results topic's name without ``-final``, the record's name and its fields."""

_LETTER = ("source_topic_id", "source_partition", "source_offset", "source_topic", "appended_at", "key", "value")
_LETTERS = {"late_events": ("event_id", "occurred_at", "watermark"), "dead_letters": ("reason", "detail")}
_RESULTS = {
    "order_metrics": "OrderMetrics", "product_sales": "ProductSales", "telemetry_metrics": "TelemetryMetrics",
    "distinct_customers": "CustomerRegisters", "reading_quantiles": "ReadingBucket", "pane_counts": "PaneCounted",
}  # fmt: skip


def tables_of(view: str, entries: Iterable[Entry], results: Iterable[Result]) -> dict[str, frozenset[Row]]:
    """Return the tables of ``view`` from what it has read: source ``entries``, or ``results`` (letters are those too);
    of each partition in the log's order."""
    if view in _RESULTS:
        return {view: _newest_results(view, results)}
    if view in _LETTERS:
        return {view: _letters(view, results)}
    return _orders(entries) if view == "orders" else _devices(entries)


def _row(fields: Fields) -> Row:
    return tuple(sorted(fields.items()))


def _newest_results(view: str, results: Iterable[Result]) -> frozenset[Row]:
    kept: dict[Any, Fields] = {}
    for topic, record, fields in results:
        if record != _RESULTS[view]:
            continue
        row = {name: value for name, value in fields.items() if name not in ("source_topic_id", "pane_start")}
        row |= {"window_start": fields["pane_start"], "final": int(fields["final"])}
        if view == "pane_counts":
            row["source_topic"] = next(m.topic for m in METRICS if (m.results, m.result) == (topic, record))
        key = tuple(row.get(name) for name in ("window_start", "source_partition", "source_topic", "country", "sku"))
        key += tuple(row.get(name) for name in ("sensor", "device_id", "bucket_e6", "block"))
        if key not in kept or _age(row) > _age(kept[key]):
            kept[key] = row
    return frozenset(map(_row, kept.values()))


def _age(row: Fields) -> tuple[int, int]:
    return row["final"], row["next_offset"]


def _letters(view: str, results: Iterable[Result]) -> frozenset[Row]:
    kept: dict[Any, Row] = {}
    for _, _, fields in results:
        key = fields["source_topic_id"], fields["source_partition"], fields["source_offset"]
        kept.setdefault(key, _row({name: fields[name] for name in (*_LETTER, *_LETTERS[view])}))
    return frozenset(kept.values())


def _newest(
    entries: Iterable[Entry], record: str, key: Callable[[Fields], tuple[str, ...]]
) -> dict[tuple[str, ...], Fields]:
    """Return the newest usable event of a kind by key."""
    found: dict[tuple[str, ...], Fields] = {}
    for entry in entries:
        event = entry.event
        if entry.record != record or event is None or event["occurred_at"] > entry.appended_ms + AHEAD_MS:
            continue
        known = found.get(key(event))
        if known is None or (event["occurred_at"], event["event_id"]) > (known["occurred_at"], known["event_id"]):
            found[key(event)] = event
    return found


_OF_ORDER = {
    "OrderPlaced": ("placed", {name: name for name in ("customer_id", "country", "currency", "amount_e4")}),
    "OrderPaid": ("paid", {"method": "method"}),
    "OrderShipped": ("shipped", {"carrier": "carrier"}),
    "OrderCancelled": (
        "cancelled",
        {
            "cancel_reason": "reason", "cancelled_country": "country", "cancelled_currency": "currency",
            "cancelled_e4": "amount_e4",
        },
    ),
}  # fmt: skip


def _orders(entries: Iterable[Entry]) -> dict[str, frozenset[Row]]:
    known = list(entries)
    empty = {f"{prefix}_{what}": None for prefix, _ in _OF_ORDER.values() for what in ("at", "id")}
    empty |= {column: None for _, columns in _OF_ORDER.values() for column in columns}
    rows: dict[str, dict[str, Any]] = {}
    for record, (prefix, columns) in _OF_ORDER.items():
        for (order_id,), event in _newest(known, record, lambda e: (e["order_id"],)).items():
            row = rows.setdefault(order_id, {"order_id": order_id, **empty})
            row |= {f"{prefix}_at": event["occurred_at"], f"{prefix}_id": event["event_id"]}
            row |= {column: event[name] for column, name in columns.items()}
    return {"orders": frozenset(map(_row, rows.values()))}


def _devices(entries: Iterable[Entry]) -> dict[str, frozenset[Row]]:
    known = list(entries)
    empty = dict.fromkeys(
        ("connected_at", "connected_id", "firmware", "battery_low_at", "battery_low_id", "battery_percent")
    )
    rows: dict[str, dict[str, Any]] = {}
    for (device,), event in _newest(known, "DeviceConnected", lambda e: (e["device_id"],)).items():
        row = rows.setdefault(device, {"device_id": device, **empty})
        row |= {
            "connected_at": event["occurred_at"], "connected_id": event["event_id"], "firmware": event["firmware"]
        }  # fmt: skip
    for (device,), event in _newest(known, "BatteryLow", lambda e: (e["device_id"],)).items():
        row = rows.setdefault(device, {"device_id": device, **empty})
        row |= {"battery_low_at": event["occurred_at"], "battery_low_id": event["event_id"]}
        row["battery_percent"] = event["charge_percent"]
    readings = [
        {
            "device_id": event["device_id"], "sensor": event["sensor"], "reading_at": event["occurred_at"],
            "reading_id": event["event_id"], "value_e6": event["value_e6"], "unit": event["unit"],
        }
        for event in _newest(known, "ReadingTaken", lambda e: (e["device_id"], e["sensor"])).values()
    ]  # fmt: skip
    return {"devices": frozenset(map(_row, rows.values())), "device_readings": frozenset(map(_row, readings))}
