"""What is to be reached, in one place; and what results say of it. Pure.

Results are the documents of ``bench/results/*.json`` by kind: ``stages`` (``make bench``), ``soak`` and
``size-cost`` (both ``make bench-soak``), and ``peers`` (``make bench-peers``).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]
Results = Mapping[str, Result]
Find = Callable[[Results], float | None]
"""Finds a number in results; None where it was not measured."""

STAGES, SOAK, SIZE_COST, PEERS = "stages", "soak", "size-cost", "peers"
OURS = "Penstock, one metric"


@dataclass(frozen=True)
class Goal:
    """A number, found in the results of ``kind``, that is to be at least ``limit`` (or at most)."""

    what: str
    limit: float
    unit: str
    kind: str
    find: Find
    at_most: bool = False

    def reached(self, measured: float) -> bool:
        """Whether ``measured`` is good enough."""
        return measured <= self.limit if self.at_most else measured >= self.limit

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {_number(self.limit)} {self.unit}"


@dataclass(frozen=True)
class Verdict:
    """A goal and what was measured; None: it was not."""

    goal: Goal
    measured: float | None

    @property
    def word(self) -> str:
        """Return ``reached``, ``MISSED`` or ``not measured``."""
        if self.measured is None:
            return "not measured"
        return "reached" if self.goal.reached(self.measured) else "MISSED"

    @property
    def found(self) -> str:
        """Return what was measured, in words."""
        return "" if self.measured is None else f"{_number(self.measured)} {self.goal.unit}"


def judge(results: Results, kinds: Iterable[str] = (STAGES, SOAK, SIZE_COST, PEERS)) -> list[Verdict]:
    """Return a verdict for each goal of ``kinds``."""
    chosen = set(kinds)
    return [
        Verdict(goal, goal.find(results) if goal.kind in results else None) for goal in GOALS if goal.kind in chosen
    ]


def figure(stage: str, variant: str, rate: str) -> Find:
    """Find a rate (``per_second``, ``per_cpu_second``) of a stage."""

    def find(results: Results) -> float | None:
        rows = (row for row in results[STAGES].get("figures", ()) if (row["stage"], row["variant"]) == (stage, variant))
        return next((float(row[rate]) for row in rows), None)

    return find


def value(kind: str, name: str) -> Find:
    """Find a number by its name."""

    def find(results: Results) -> float | None:
        rows = (row for row in results[kind].get("values", ()) if row["name"] == name)
        return next((float(row["value"]) for row in rows), None)

    return find


def times(job: str, peer: str, rate: str) -> Find:
    """Find how many times as fast as a peer Penstock is, in the same run."""

    def find(results: Results) -> float | None:
        rows = {row["peer"]: float(row[rate]) for row in results[PEERS]["outcomes"] if row["job"] == job}
        return rows[OURS] / rows[peer] if OURS in rows and peer in rows else None

    return find


def share(stage: str) -> Find:
    """Find how fast a view is beside a bare merge loop, by the clock."""
    full, bare = figure(stage, "end to end", "per_second"), figure(stage, "bare merge loop", "per_second")

    def find(results: Results) -> float | None:
        ours, loop = full(results), bare(results)
        return ours / loop if ours and loop else None

    return find


def _number(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:.3g}"


def _rates(stage: str, variant: str, per_cpu_second: float, per_second: float = 0) -> list[Goal]:
    wanted = (("per_cpu_second", per_cpu_second, "events per CPU second"), ("per_second", per_second, "events/s"))
    name = f"{stage}, {variant}"
    return [Goal(name, goal, unit, STAGES, figure(stage, variant, rate)) for rate, goal, unit in wanted if goal]


def _times(job: str, peer: str, per_cpu_second: float, per_second: float = 0) -> list[Goal]:
    wanted = (("per_cpu_second", per_cpu_second, "× per CPU second"), ("per_second", per_second, "× by the clock"))
    name = f"process {job}, one metric ÷ {peer}"
    return [Goal(name, goal, unit, PEERS, times(job, peer, rate)) for rate, goal, unit in wanted if goal]


def _at_most(name: str, limit: float, unit: str, kind: str = STAGES) -> Goal:
    return Goal(name, limit, unit, kind, value(kind, name), at_most=True)


GOALS = (
    *_rates("process orders", "one metric", 600_000, 650_000),
    *_rates("process telemetry", "one metric", 600_000, 650_000),
    *_rates("process orders", "all metrics", 350_000),
    *_rates("process telemetry", "all metrics", 350_000),
    *_times("orders", "stock Faust", 200),
    *_times("orders", "Kafka Streams", 4, 2),
    *_times("orders", "Flink SQL", 3, 2),
    *_times("telemetry", "Kafka Streams", 4),
    *_times("telemetry", "Flink SQL", 4),
    *_rates("materialize SQLite", "end to end", 0, 180_000),
    *_rates("materialize Postgres", "end to end", 0, 140_000),
    Goal("materialize SQLite ÷ a bare merge loop", 0.5, "by the clock", STAGES, share("materialize SQLite")),
    Goal("materialize Postgres ÷ a bare merge loop", 0.5, "by the clock", STAGES, share("materialize Postgres")),
    *_rates("produce orders", "with faults and truth", 200_000),
    *_rates("produce telemetry", "with faults and truth", 200_000),
    _at_most("latency: event to result, p50", 60, "ms"),
    _at_most("latency: event to result, p99", 120, "ms"),
    _at_most("latency: event to row in the view, p99", 300, "ms"),
    _at_most("restart: kill to caught up", 10, "s"),
    Goal("restart: refold rate", 400_000, "events/s", STAGES, value(STAGES, "restart: refold rate")),
    _at_most("memory: worker with 300,000 open groups", 400, "MB"),
    _at_most("idle: the whole embedded stack", 5, "% of a core"),
    _at_most("sketches: reading_quantiles, CPU of an event", 0.25, "µs"),
    _at_most("sketches: distinct_customers, CPU of an event", 0.25, "µs"),
    Goal("verify", 100_000, "events/s", STAGES, value(STAGES, "verify: events compared with all views")),
    _at_most("soak: growth of the worker's memory", 5, "%", SOAK),
    _at_most("soak: growth of the views' memory", 5, "%", SOAK),
    _at_most("dearest ÷ cheapest event, by size of the log", 1.2, "×", SIZE_COST),
    _at_most("dearest ÷ cheapest event, by groups", 2, "×", SIZE_COST),
)
"""Those of the issue that asked for them, and of older ones: half the speed of a bare merge loop, that of verify."""
