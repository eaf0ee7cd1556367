"""What a seed means: a small world, what its events are like, and how likely each fault is.

Each schedule has only some of the faults, at rates of its own: all of them at once would hide each other.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from penstock.metrics import METRICS, Metric
from simulation.events import RECORDS, Mix, Operation, operations

T = TypeVar("T")

RATES = {
    "crash": 0.012, "zombie": 0.01, "stop": 0.008, "rebalance": 0.03, "twice": 0.05, "evict": 0.1, "slow network": 1.0,
    "commit refused": 0.1, "commit reply lost": 0.1, "registry away": 0.04, "database away": 0.04,
    "database reply lost": 0.05, "broker away": 0.03, "backup restored": 0.05, "partitions grow": 0.03,
    "log trimmed": 0.05, "log trimmed past a need": 0.03, "topic recreated": 0.03,
}  # fmt: skip
"""How likely a fault is where it may happen, in a schedule that has it: up to twice that. On a slow network nothing
arrives before somebody waits for it."""

_COMMON = ("crash", "zombie", "rebalance", "twice", "slow network", "backup restored")
_RARE = (
    "stop", "commit refused", "commit reply lost", "registry away", "database away", "database reply lost",
    "broker away", "partitions grow", "log trimmed",
)  # fmt: skip
_ENDING = ("log trimmed past a need", "topic recreated")
"""Faults that a stage must answer by stopping."""

VIEWS = {
    "orders": ("orders", "order_metrics", "product_sales", "pane_counts", "late_events", "dead_letters"),
    "telemetry": ("devices", "telemetry_metrics", "pane_counts", "late_events", "dead_letters"),
}

SKETCHED = 0.25
"""How many schedules have the topic's sketch as well, with its view: by a draw of their own."""


@dataclass(frozen=True)
class Plan:
    """All that is decided before the first step."""

    seed: int
    topic: str
    partitions: int
    born_trimmed: int
    processors: int
    keepers: int
    metrics: tuple[Metric, ...]
    views: tuple[str, ...]
    rates: Mapping[str, float]
    appending: float
    switching: float
    delivering: float
    fetched: int
    eager: float
    restart_all: bool
    decode_each_batch: bool
    operations: tuple[Operation, ...]
    without: frozenset[int] = field(default=frozenset())


def plan_of(seed: int, bias: Mapping[str, float] | None = None) -> Plan:
    """Return the plan of a seed; ``bias`` sets rates of faults on top of what the seed says."""
    rng = random.Random(f"plan {seed}")
    topic = rng.choice(tuple(RECORDS))
    rates = _rates(rng)
    partitions = rng.choice((1, 1, 2, 2, 3))
    growing = "partitions grow" in rates
    mix = _mix(rng, topic)
    count = rng.choice((12, 20, 30, 45))
    own = [metric for metric in METRICS if metric.topic == topic]
    sketches = [metric for metric in own if metric.sketch and random.Random(f"sketch {seed}").random() < SKETCHED]
    plan = Plan(
        seed=seed,
        topic=topic,
        partitions=partitions,
        born_trimmed=rng.choice((1, 17)) if rng.random() < 0.05 and not rates.keys() & set(_ENDING) else 0,
        processors=rng.choice((1, 2, 2, 3)),
        keepers=rng.choice((1, 2, 2)),
        metrics=(*_some(rng, [metric for metric in own if not metric.sketch], 2), *sketches),
        views=(*_some(rng, VIEWS[topic], 2), *(metric.name for metric in sketches)),
        rates=rates,
        appending=rng.choice((0.1, 0.2, 0.5)),
        switching=rng.choice((0.05, 0.15, 0.4)),
        delivering=rng.choice((0.02, 0.1, 0.3)),
        fetched=rng.choice((3, 8, 20)),
        eager=rng.choice((0.1, 0.5, 1.0)),
        restart_all=rng.random() < 0.5,
        decode_each_batch=rng.random() < 0.1,
        operations=tuple(operations(rng, mix, partitions + growing, count)),
    )
    if bias:
        plan = replace(plan, rates={**rates, **bias})
    return replace(plan, delivering=0.0) if plan.rates.get("slow network") else plan


def _rates(rng: random.Random) -> dict[str, float]:
    chosen = ["evict", *(kind for kind in _COMMON if rng.random() < 0.6)]
    chosen += [kind for kind in _RARE if rng.random() < 0.15]
    if rng.random() < 0.06:
        chosen.append(rng.choice(_ENDING))
    return {kind: RATES[kind] * rng.choice((0.3, 1.0, 2.0)) for kind in chosen}


def _mix(rng: random.Random, topic: str) -> Mix:
    first, *others = RECORDS[topic]
    return Mix(
        topic=topic,
        records=(first, first, rng.choice(others)) if rng.random() < 0.4 else (first,),
        versions=rng.random() < 0.15,
        step_ms=rng.choice((4_000, 10_000, 20_000)),
        copy=rng.choice((0.0, 0.1, 0.3)),
        poison=rng.choice((0.0, 0.0, 0.05, 0.15)),
        heartbeat=rng.choice((0.0, 0.1, 0.2)),
        ahead=rng.choice((0.0, 0.0, 0.05)),
        gap=rng.choice((0.0, 0.0, 0.1)),
    )


def _some(rng: random.Random, choices: Sequence[T], most: int) -> tuple[T, ...]:
    return tuple(rng.sample(choices, min(rng.randint(1, most), len(choices))))
