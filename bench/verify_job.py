"""``python -m bench.verify_job``: how fast ``penstock verify`` recomputes and compares everything.

Both topics, all views, in SQLite; with copies, late and disordered events and broken records. Every run must prove all.
"""

import argparse
import sys
from collections.abc import Sequence
from statistics import median

from bench.bed import Bed, new_prefix, real_bed
from bench.measured import Value
from testbed.pipeline import Parts, Pipeline

EVENTS = 600_000
POISON = "0.2%"
RUNS = 3
_FAULTS = ("--disorder", "3s", "--duplicates", "2%", "--late", "2%")
_SETTLE_S = 300.0


def measure(bed: Bed, events: int = EVENTS, poison: str = POISON, runs: int = RUNS) -> list[Value]:
    """Return the median rate of some runs over a log of ``events`` of both topics, 10 min of event time."""
    folder = bed.folder / new_prefix("verify")
    with Pipeline(Parts(bed.kafka, bed.registry), folder) as pipeline:
        pipeline.create_topics().run("schemas", "register")
        pipeline.start_processors(1)
        pipeline.start_views()
        load = ("--count", str(events), "--duration", "600s", *_FAULTS, "--poison", poison)
        pipeline.send("produce", "all", *load, "--seed", "5")
        pipeline.settle(_SETTLE_S)
        pipeline.stop()
        rates = []
        for _ in range(runs):
            verdict = pipeline.verify()
            rates.append(verdict["events"] / verdict["seconds"])
    told = ", ".join(f"{rate:,.0f}" for rate in rates)
    note = f"{verdict['events']:,} events, {poison} of them broken; runs: {told}"
    return [Value("verify: events compared with all views", median(rates), "events/s", note)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.verify_job", description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS, help=f"events of both topics (default {EVENTS:,})")
    parser.add_argument("--poison", default=POISON, help="share of broken records (default 0.2%%)")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs; the median counts (default {RUNS})")
    options = parser.parse_args(arguments)
    with real_bed(postgres=False) as bed:
        print("\n".join(map(str, measure(bed, options.events, options.poison, options.runs))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
