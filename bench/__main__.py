"""``python -m bench``: measure the stages on real parts, side by side in one run, and hold them against the goals."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench import idle, latency, memory, process_jobs, produce_job, restart, sketches, stock_job, verify_job, view_jobs
from bench.bed import Bed, fill, new_prefix, real_bed
from bench.events import lives, load_of
from bench.goals import STAGES as KIND
from bench.goals import judge
from bench.measured import Value
from bench.parts import ERRORS, measure_parts
from bench.report import LATEST, Figure, document, median, ratios, show, show_goals, write
from penstock.metrics import METRICS, Metric
from penstock.schema_ids import schema_ids

STAGES = ("produce", "stock", "process", "materialize", "latency", "restart", "memory", "idle", "sketches", "verify")
JOBS = ("orders", "telemetry")
KEYS = 100_000
SKETCHED = 1_200_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print and write the figures. Returns 1 when a stage failed, an answer was wrong or a goal was missed."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 160)
    chosen = options.only or STAGES
    sizes = _sizes(options)
    try:
        with real_bed(postgres="materialize" in chosen) as bed:
            parts = {name: partial(_measure, bed, name, sizes) for name in STAGES if name in chosen}
            found, failures = measure_parts(parts, lambda one: console.print(_told(one), highlight=False))
    except ERRORS as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    figures = [one for one in found if isinstance(one, Figure)]
    values = [one for one in found if isinstance(one, Value)]
    compared = ratios(figures)
    result = document(KIND, sizes, values, figures, compared) | {"failures": failures}
    verdicts = [verdict for verdict in judge({KIND: result}, [KIND]) if verdict.measured is not None]
    show(console, figures, compared)
    show_goals(console, verdicts)
    whole = set(chosen) == set(STAGES) and not options.quick
    if output := options.output or (LATEST if whole else None):
        write(output, result)
        console.print(f"written to {output.name}")
    return 0 if not failures and all(verdict.word == "reached" for verdict in verdicts) else 1


def _told(found: Figure | Value) -> str:
    if isinstance(found, Value):
        return str(found)
    return f"{found.stage}, {found.variant}: {found.per_cpu_second:,.0f} per CPU second"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer events, no repetition: to see that it works")
    parser.add_argument("--only", nargs="+", choices=STAGES, help="measure these stages alone")
    parser.add_argument("--events", type=int, help="events of each process job (default 1,000,000)")
    parser.add_argument("--repeat", type=int, help="runs of each process job; the median counts (default 3)")
    parser.add_argument("--output", type=Path, help=f"where the JSON goes ({LATEST.name}, if all was measured in full)")
    return parser


def _sizes(options: argparse.Namespace) -> dict[str, int]:
    events = options.events or (100_000 if options.quick else 1_000_000)
    return {
        "events": events,
        "repeat": options.repeat or (1 if options.quick else 3),
        "produced": min(events, 200_000),
        "stock": min(events, 10_000 if options.quick else stock_job.EVENTS),
        "view_events": min(events, 500_000),
        "view_keys": min(events, KEYS),
        "live_rate": 1_000 if options.quick else latency.RATE,
        "restart_rate": 2_000 if options.quick else restart.RATE,
        "groups": min(events, memory.GROUPS),
        "verified": min(events, verify_job.EVENTS),
    }


def _measure(bed: Bed, stage: str, sizes: dict[str, int]) -> Iterable[Figure | Value]:
    measured: dict[str, Callable[[], Iterable[Figure | Value]]] = {
        "produce": lambda: (produce_job.measure(bed, job, sizes["produced"]) for job in JOBS),
        "stock": lambda: [_stock(bed, sizes["stock"])],
        "process": lambda: (figure for job in JOBS for figure in _process(bed, job, sizes)),
        "materialize": lambda: _materialize(bed, sizes),
        "latency": lambda: latency.measure(bed, rate=sizes["live_rate"]),
        "restart": lambda: restart.measure(bed, sizes["restart_rate"]),
        "memory": lambda: memory.measure(bed, sizes["groups"]),
        "idle": idle.measure,
        "sketches": lambda: (_sketch(metric) for metric in METRICS if metric.name in sketches.SOURCES),
        "verify": lambda: verify_job.measure(bed, sizes["verified"]),
    }
    return measured[stage]()


def _sketch(metric: Metric) -> Value:
    folding, sending, _ = sketches.measure(metric, SKETCHED)
    return Value(f"sketches: {metric.name}, CPU of an event", folding + sending, "µs", f"folding {folding:.3f} µs")


def _stock(bed: Bed, events: int) -> Figure:
    prefix = new_prefix("ids")
    bed.create_topics(prefix)
    return stock_job.measure(bed, load_of("orders", events, schema_ids(bed.settings(prefix))))


def _process(bed: Bed, job: str, sizes: dict[str, int]) -> Iterator[Figure]:
    """Every repetition is a pipeline version of its own over the same log."""
    prefix = new_prefix(job)
    bed.create_topics(prefix)
    settings = bed.settings(prefix)
    load = load_of(job, sizes["events"], schema_ids(settings))
    fill(settings, load)
    version = 0
    for _, variant in [key for key in process_jobs.VARIANTS if key[0] == job]:
        found = []
        for _ in range(sizes["repeat"]):
            version += 1
            found.append(process_jobs.measure(bed, prefix, version, load, variant))
        yield median(found)


def _materialize(bed: Bed, sizes: dict[str, int]) -> Iterator[Figure]:
    prefix = new_prefix("views")
    bed.create_topics(prefix)
    settings = bed.settings(prefix)
    load = lives(sizes["view_events"], sizes["view_keys"], schema_ids(settings))
    fill(settings, load)
    for database in ("SQLite", "Postgres"):
        yield from view_jobs.measure(bed, prefix, load, database)


if __name__ == "__main__":
    sys.exit(main())
