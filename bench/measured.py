"""Single numbers that a run measured, by name: what :mod:`bench.goals` holds against its goals."""

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Value:
    """One number. ``name`` begins with what was measured: ``latency: event to result, p50``."""

    name: str
    value: float
    unit: str
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return it, rounded to four significant digits."""
        return asdict(self) | {"value": float(f"{self.value:.4g}")}

    def __str__(self) -> str:
        number = f"{self.value:,.0f}" if abs(self.value) >= 100 else f"{self.value:.3g}"
        return f"{self.name}: {number} {self.unit}{f' ({self.note})' if self.note else ''}"


def quantiles(name: str, milliseconds: pl.Series, note: str = "") -> list[Value]:
    """Return the median and the 99th percentile of ``milliseconds``."""
    wanted = {"p50": 0.5, "p99": 0.99}
    found = {label: milliseconds.quantile(share, "nearest") for label, share in wanted.items()}
    return [Value(f"{name}, {label}", float(value or 0), "ms", note) for label, value in found.items()]
