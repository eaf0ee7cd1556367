"""``python -m bench.soak`` (``make bench-soak``): what only time and size show.

Half an hour under a steady load with faults, for the memory of the worker and of the views; and the cost of an event
by the length of the log and by the number of groups.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.bed import PENSTOCK, Bed, new_prefix, real_bed
from bench.goals import SOAK, judge
from bench.live import LOOK_S, Books, producing
from bench.measured import Value
from bench.parts import ERRORS, measure_parts
from bench.produce_job import FAULTS
from bench.report import LATEST, document, show_goals, write
from bench.size_cost import GROUP_EVENTS, GROUPS, SIZES, by_groups, by_size
from bench.watch import Watched
from penstock.topics import SOURCES

RESULTS = LATEST.with_name("soak.json")
MINUTES = 30.0
RATE = 5_000
PARTS = ("memory", "sizes", "groups")
_TOPICS = tuple(topic.name for topic in SOURCES)


def flat_memory(bed: Bed, minutes: float, rate: int) -> Iterator[Value]:
    """Yield by how much memory grew from the second quarter of the time to the last one, by means."""
    prefix = new_prefix("soak")
    bed.create_topics(prefix)
    environment = bed.environment(prefix, DATABASE_URL=f"sqlite:///{bed.folder / prefix}views.db")
    seconds = round(60 * minutes)
    with (
        bed.watch("soak-process", [*PENSTOCK, "process"], environment, LOOK_S) as worker,
        bed.watch("soak-views", [*PENSTOCK, "materialize"], environment, LOOK_S) as views,
        Books(bed.settings(prefix), _TOPICS) as books,
    ):
        worker.wait_until(lambda: worker.logged_at("assigned"), "the worker has its partitions")
        began = time.time()
        arguments = ("all", "--rate", str(rate), "--duration", f"{seconds}s", "--seed", "1", *FAULTS)
        with producing(bed, prefix, *arguments) as producer:
            producer.finish()
        ended = time.time()
        worker.wait_until(books.settled, "all events are settled")
        applied = books.check("soak", producer.truth())
    yield Value("soak: events, each applied once", applied, "events", f"{rate:,} events/s for {minutes:g} min")
    yield _growth("the worker's", worker, began, ended)
    yield _growth("the views'", views, began, ended)


def _growth(whose: str, watched: Watched, began: float, ended: float) -> Value:
    quarter = (ended - began) / 4
    spans = ((began + quarter, began + 2 * quarter), (ended - quarter, ended))
    seen = [[sample.rss_bytes for sample in watched.between(*span)] for span in spans]
    early, late = (sum(sizes) / len(sizes) / 2**20 for sizes in seen)
    note = f"from {early:.0f} to {late:.0f} MB, at most {watched.peak_rss_bytes() / 2**20:.0f} MB"
    return Value(f"soak: growth of {whose} memory", 100 * (late / early - 1), "%", note)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print and, if it was the whole of it, write. Returns 1 when an answer was wrong or a goal was missed."""
    options = _parser().parse_args(arguments)
    sizes = sorted({min(size, options.max_events) for size in SIZES})
    groups = [count for count in GROUPS if count <= options.max_groups]
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        with real_bed(postgres=False) as bed:
            parts: dict[str, Callable[[], Iterator[Value]]] = {
                "sizes": partial(by_size, bed, sizes, options.repeat),
                "groups": partial(by_groups, bed, groups, min(GROUP_EVENTS, options.max_events), options.repeat),
                "memory": partial(flat_memory, bed, options.minutes, options.rate),
            }
            chosen = {name: part for name, part in parts.items() if name in options.only}
            values, failures = measure_parts(chosen, lambda value: console.print(str(value), highlight=False))
    except ERRORS as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    told = {"minutes": options.minutes, "rate": options.rate, "events": sizes, "groups": groups}
    result = document(SOAK, told | {"repeat": options.repeat}, values) | {"failures": failures}
    verdicts = [verdict for verdict in judge({SOAK: result}, [SOAK]) if verdict.measured is not None]
    show_goals(console, verdicts)
    whole = set(options.only) == set(PARTS) and options.minutes >= MINUTES and sizes[-1] >= SIZES[-1]
    if output := options.output or (RESULTS if whole else None):
        write(output, result)
        console.print(f"written to {output.name}")
    return 0 if not failures and all(verdict.word == "reached" for verdict in verdicts) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of steady load (default {MINUTES:g})")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second meanwhile (default {RATE})")
    parser.add_argument("--max-events", type=int, default=SIZES[-1], help=f"of the longest log (default {SIZES[-1]})")
    parser.add_argument("--max-groups", type=int, default=GROUPS[-1], help=f"devices at most (default {GROUPS[-1]})")
    parser.add_argument("--repeat", type=int, default=3, help="runs of all but the long logs; the median counts")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="measure these alone")
    parser.add_argument(
        "--output", type=Path, help=f"where the JSON goes ({RESULTS.name}, if all was measured in full)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
