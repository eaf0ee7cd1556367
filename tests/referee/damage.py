"""A view database that is damaged by hand, and how a difference names what was damaged."""

import sqlite3
from pathlib import Path
from typing import Any

from penstock.schema_ids import LockedIds
from penstock.settings import Settings
from referee.report import Verdict
from referee.scope import Scope
from referee.verify import verify

PATIENCE_S = 20.0
KEYS = {
    "order_metrics": ("window_start", "country", "source_partition"),
    "product_sales": ("window_start", "sku", "source_partition"),
    "telemetry_metrics": ("window_start", "sensor", "device_id", "source_partition"),
    "distinct_customers": ("window_start", "block", "source_partition"),
    "reading_quantiles": ("window_start", "sensor", "bucket_e6", "source_partition"),
    "pane_counts": ("source_topic", "window_start", "source_partition"),
    "orders": ("order_id",),
    "devices": ("device_id",),
    "device_readings": ("device_id", "sensor"),
    "late_events": ("source_topic_id", "source_partition", "source_offset"),
    "dead_letters": ("source_topic_id", "source_partition", "source_offset"),
}


def judged(settings: Settings, scope: Scope | None = None) -> Verdict:
    return verify(settings, LockedIds(), PATIENCE_S, scope or Scope())


def change(path: Path, sql: str, values: tuple[Any, ...] = ()) -> None:
    connection = sqlite3.connect(path)
    with connection:
        assert connection.execute(sql, values).rowcount == 1
    connection.close()


def row_of(path: Path, table: str, condition: str = "true") -> dict[str, Any]:
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    found = connection.execute(f"SELECT * FROM {table}_v1 WHERE {condition} LIMIT 1").fetchone()
    connection.close()
    return dict(found)


def where(table: str, row: dict[str, Any]) -> tuple[str, tuple[Any, ...]]:
    return " AND ".join(f"{name} = ?" for name in KEYS[table]), tuple(row[name] for name in KEYS[table])


def names_the_row(key: str, table: str, row: dict[str, Any]) -> bool:
    return all(f"{name}={row[name]}" in key.split(" ") for name in KEYS[table])


def damage(path: Path, table: str, column: str, condition: str = "true") -> dict[str, Any]:
    """Add one to a whole number, or double a text, in one row; return the row as it was."""
    row = row_of(path, table, f"{column} IS NOT NULL AND {condition}")
    wrong = row[column] + (1 if isinstance(row[column], int) else row[column])
    chosen, values = where(table, row)
    change(path, f"UPDATE {table}_v1 SET {column} = ? WHERE {chosen}", (wrong, *values))
    return row
