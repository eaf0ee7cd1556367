"""Figures, what they are put into, and how they are shown."""

import json
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from bench.goals import Verdict
from bench.measured import Value

LATEST = Path(__file__).parent / "results" / "latest.json"
_PACKAGES = ("confluent-kafka", "fastavro", "faust-streaming", "polars", "psycopg")


@dataclass(frozen=True)
class Figure:
    """One measurement: ``events`` in ``seconds`` of the clock and ``cpu_s`` CPU seconds of the process measured."""

    stage: str
    variant: str
    events: int
    seconds: float
    cpu_s: float
    rss_mb: float = 0.0
    note: str = ""

    @property
    def per_second(self) -> float:
        """Events per second of the clock."""
        return self.events / self.seconds

    @property
    def per_cpu_second(self) -> float:
        """Events per CPU second."""
        return self.events / self.cpu_s

    def as_json(self) -> dict[str, Any]:
        """Return it with what follows from it, rounded to what was measured."""
        exact = asdict(self) | {"seconds": round(self.seconds, 3), "cpu_s": round(self.cpu_s, 2)}
        rates = {"per_second": round(self.per_second), "per_cpu_second": round(self.per_cpu_second)}
        return exact | {"rss_mb": round(self.rss_mb)} | rates


@dataclass(frozen=True)
class Ratio:
    """Two figures compared in one run."""

    name: str
    value: float


def median(figures: Iterable[Figure]) -> Figure:
    """Return the one in the middle by events per CPU second."""
    return statistics.median_high(_Ordered(figure) for figure in figures).figure


@dataclass(frozen=True)
class _Ordered:
    figure: Figure

    def __lt__(self, other: "_Ordered") -> bool:
        return self.figure.per_cpu_second < other.figure.per_cpu_second


def ratios(figures: Sequence[Figure]) -> list[Ratio]:
    """Return the comparisons that ``figures`` allow."""
    by_name = {(figure.stage, figure.variant): figure for figure in figures}
    found = []
    stock = by_name.get(("process orders", "stock Faust"))
    for variant in ("one metric", "all metrics"):  # the stock app has this one metric
        ours = by_name.get(("process orders", variant))
        if ours and stock:
            value = ours.per_cpu_second / stock.per_cpu_second
            found.append(Ratio(f"process orders, {variant} ÷ stock Faust, per CPU second", value))
    for stage in ("materialize SQLite", "materialize Postgres"):
        ours, bare = by_name.get((stage, "end to end")), by_name.get((stage, "bare merge loop"))
        if ours and bare:
            found.append(Ratio(f"{stage} ÷ bare merge loop, by the clock", ours.per_second / bare.per_second))
    return found


def show(console: Console, figures: Sequence[Figure], compared: Sequence[Ratio]) -> None:
    """Print the table of ``figures`` and what was compared."""
    table = Table(title="Every answer was equal to the direct computation", title_justify="left")
    for name in ("stage", "variant"):
        table.add_column(name)
    for name in ("events", "events/s", "per CPU second", "MB"):
        table.add_column(name, justify="right")
    table.add_column("note")
    for figure in figures:
        numbers = (figure.events, figure.per_second, figure.per_cpu_second, figure.rss_mb)
        table.add_row(figure.stage, figure.variant, *(f"{number:,.0f}" for number in numbers), figure.note)
    if figures:
        console.print(table)
    for ratio in compared:
        console.print(f"{ratio.name}: {ratio.value:,.2f}")


def show_goals(console: Console, verdicts: Iterable[Verdict]) -> None:
    """Print what was to be reached, and what was."""
    table = Table(title="Goals", title_justify="left")
    for name in ("what", "goal", "measured", ""):
        table.add_column(name)
    for verdict in verdicts:
        table.add_row(verdict.goal.what, str(verdict.goal), verdict.found, verdict.word)
    console.print(table)


def document(
    kind: str,
    sizes: Mapping[str, Any],
    values: Iterable[Value],
    figures: Sequence[Figure] = (),
    compared: Iterable[Ratio] = (),
) -> dict[str, Any]:
    """Return all of a run of ``kind`` (see :mod:`bench.goals`), with what is known of the machine."""
    found: dict[str, Any] = {
        "kind": kind,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sizes": dict(sizes),
        "values": [value.as_json() for value in values],
    }
    if figures:
        found["figures"] = [figure.as_json() for figure in figures]
        found["ratios"] = [asdict(ratio) | {"value": round(ratio.value, 2)} for ratio in compared]
    return found


def write(path: Path, result: Mapping[str, Any]) -> None:
    """Write a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Return what a reader needs to judge the figures, and nothing that names the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "load_average": [round(load, 1) for load in psutil.getloadavg()],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
