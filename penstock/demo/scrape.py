"""What the board shows: the stages' own metrics over HTTP, and the newest numbers out of the views."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from penstock.demo.supervisor import Running

_TIMEOUT_S = 1.0
_NUMBERS = {
    "orders": "SELECT count(*) FROM orders",
    "revenue today": "SELECT round(sum(revenue), 2) FROM order_metrics_by_day",
    "best product": "SELECT sku || ' (' || sum(units) || ' units)' FROM product_sales_by_day GROUP BY sku "
    "ORDER BY sum(units) DESC, sku LIMIT 1",
    "customers today": "SELECT customers FROM distinct_customers_by_day ORDER BY window_start DESC LIMIT 1",
    "readings": "SELECT sum(readings) FROM telemetry_metrics_by_day",
    "devices": "SELECT count(DISTINCT device_id) FROM devices",
    "late events": "SELECT count(*) FROM late_events",
    "dead letters": "SELECT count(*) FROM dead_letters",
}


@dataclass
class Sample:
    """One look at everything. Sums are over all partitions and instances."""

    produced: float = 0
    settled: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    imbalance: float = 0
    open_panes: float = 0
    lag: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    watermark_delay_s: float = 0
    partitions: int = 0
    up: dict[str, bool] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)

    @property
    def settled_total(self) -> float:
        """Records with a fate, of all topics."""
        return sum(self.settled.values())


def look(processes: Iterable[Running], database: Path) -> Sample:
    """Scrape every process that has a port, and read the views. What does not answer is left out."""
    sample = Sample()
    for process in processes:
        if process.child.port is None or (process.child.is_producer and process.ended is not None):
            continue
        try:
            answer = httpx.get(f"http://127.0.0.1:{process.child.port}/metrics", timeout=_TIMEOUT_S)
        except httpx.HTTPError:
            sample.up[process.child.name] = False
            continue
        sample.up[process.child.name] = True
        _add(sample, answer.text)
    sample.numbers = _numbers(database)
    return sample


def _add(sample: Sample, text: str) -> None:
    for family in text_string_to_metric_families(text):
        for name, labels, value, *_ in family.samples:
            if name == "penstock_produced_events_total":
                sample.produced += value
            elif name == "penstock_books_events":
                sample.settled[labels["fate"]] += value
            elif name == "penstock_books_imbalance_events":
                sample.imbalance += abs(value)
                sample.partitions += 1
            elif name == "penstock_open_panes":
                sample.open_panes += value
            elif name == "penstock_lag_events":
                sample.lag[labels["stage"]] += value
            elif name == "penstock_watermark_delay_seconds":
                sample.watermark_delay_s = max(sample.watermark_delay_s, value)


def _numbers(database: Path) -> dict[str, str]:
    if not database.exists():
        return {}
    numbers = {}
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=_TIMEOUT_S)) as connection:
        for name, sql in _NUMBERS.items():
            try:
                row = connection.execute(sql).fetchone()
            except sqlite3.OperationalError:
                continue
            if row and row[0] is not None:
                numbers[name] = f"{row[0]:,}" if isinstance(row[0], int | float) else str(row[0])
    return numbers
