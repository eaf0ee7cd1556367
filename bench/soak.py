"""``python -m bench.soak`` (``make bench-soak``): the memory of the worker and of the views over half an hour.

The load is steady, with faults.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench.bed import PENSTOCK, Bed, new_prefix
from bench.goals import SOAK
from bench.live import LOOK_S, Books, producing
from bench.measured import Value
from bench.produce_job import FAULTS
from bench.report import LATEST
from bench.values import Parts, measure_values
from bench.watch import Watched
from penstock.topics import SOURCES

RESULTS = LATEST.with_name("soak.json")
MINUTES = 30.0
RATE = 5_000
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
            producer.finish(seconds)
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
    """Measure; print and, if it lasted long enough, write. Returns 1 when an answer was wrong or a goal was missed."""
    options = _parser().parse_args(arguments)
    told = {"minutes": options.minutes, "rate": options.rate}
    parts: Parts = {"memory": partial(flat_memory, minutes=options.minutes, rate=options.rate)}
    output = options.output or (RESULTS if options.minutes >= MINUTES else None)
    return measure_values(SOAK, parts, told, output)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help=f"of steady load (default {MINUTES:g})")
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second meanwhile (default {RATE})")
    parser.add_argument("--output", type=Path, help=f"where the JSON goes ({RESULTS.name}, after {MINUTES:g} minutes)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
