"""``python -m bench.latency``: how long an event takes to the result that counts it, and to the row in the view.

A live producer, one worker and the views run as in production, on a real broker. Time begins when the event happens
(``occurred_at``, of the same machine's clock), so the producer's own wait of up to 20 ms is in the figures. It ends
when a consumer of the results topic has the first row of the event's country, partition and pane that was sent behind
the event (``next_offset``), and when another connection to the database sees such a row. Each order placed is a
sample; those of the first seconds are left out, since parts warm up.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence

import polars as pl

from bench.answers import WrongAnswerError, read_all
from bench.bed import PENSTOCK, Bed, new_prefix, real_bed
from bench.eager_worker import command
from bench.live import LOOK_S, Books, producing
from bench.measured import Value, quantiles
from bench.seen import ResultsWatch, ViewWatch, first_behind
from bench.watch import Watched
from penstock.avro import INDEX, Decoder
from penstock.contracts import load_contracts
from penstock.pipeline import PANE_MS
from penstock.schema_ids import schema_ids
from penstock.settings import Settings
from penstock.topics import BY_NAME

RATE = 5_000
SECONDS = 30
WARM_S = 10
_TOPIC = BY_NAME["orders"]


def measure(bed: Bed, seconds: int = SECONDS, rate: int = RATE, early_s: float | None = None) -> list[Value]:
    """Return the latencies, by part of the way, and what the stages cost meanwhile.

    ``early_s`` is how often early results go out in place of what the setting says. Raises
    :class:`bench.answers.WrongAnswerError` when an event never came out.
    """
    prefix = new_prefix("latency")
    bed.create_topics(prefix)
    settings = bed.settings(prefix)
    database = bed.folder / f"{prefix}views.db"
    environment = bed.environment(prefix, DATABASE_URL=f"sqlite:///{database}")
    with (
        bed.watch("latency-process", command(early_s), environment, LOOK_S) as worker,
        bed.watch("latency-views", [*PENSTOCK, "materialize"], environment, LOOK_S) as views,
        ResultsWatch(settings) as results,
        ViewWatch(database) as view,
        Books(settings, ["orders"]) as books,
    ):
        worker.wait_until(lambda: worker.logged_at("assigned"), "the worker has its partitions")
        views.wait_until(lambda: view.tables, "the views have their tables")
        arguments = ("orders", "--rate", str(rate), "--duration", f"{seconds}s", "--seed", "1")
        with producing(bed, prefix, *arguments) as producer:
            producer.finish()
        ended = time.time()
        worker.wait_until(books.settled, "all events are settled")
        views.wait_until(lambda: view.merged(settings), "the view has all results")
        books.check("latency", producer.truth())
    events = _events(settings)
    warm = int(events["occurred_at"].min()) + 1_000 * WARM_S  # type: ignore[arg-type]
    costs = list(_costs({"worker": worker, "views": views}, warm / 1_000, ended))
    return [*_latencies(events.filter(pl.col("occurred_at") >= warm), results.rows(), view.rows()), *costs]


def _events(settings: Settings) -> pl.DataFrame:
    """Return the orders placed: the keys of the row that counts each, and when it happened and was appended."""
    read = read_all(settings, _TOPIC.full_name(settings))
    decoder = Decoder(_TOPIC, load_contracts(), schema_ids(settings), settings.max_record_bytes)
    placed = decoder.decode(read.values).records["OrderPlaced"]
    log = pl.DataFrame({"source_partition": read.partitions, "offset": read.offsets, "appended_ms": read.appended_ms})
    pane = (pl.col("occurred_at") // PANE_MS * PANE_MS).alias("pane_start")
    return placed.select("occurred_at", "country", pane).hstack(log[placed[INDEX]])


def _latencies(events: pl.DataFrame, results: pl.DataFrame, view: pl.DataFrame) -> list[Value]:
    on_topic, in_view = first_behind(events, results), first_behind(events, view)
    for what, found in (("result", on_topic), ("row in the view", in_view)):
        if found["seen_ms"].null_count():
            raise WrongAnswerError(f"latency: {found['seen_ms'].null_count()} of {len(events)} orders have no {what}")
    counted = f"{len(events):,} orders"
    happened, appended = on_topic["occurred_at"], on_topic["appended_ms"]
    return [
        *quantiles("latency: event to result", on_topic["seen_ms"] - happened, counted),
        *quantiles("latency: event to row in the view", in_view["seen_ms"] - in_view["occurred_at"], counted),
        *quantiles("latency: of it, event to log", appended - happened),
        *quantiles("latency: of it, log to result appended", on_topic["sent_ms"] - appended),
        *quantiles("latency: of it, result appended to consumer", on_topic["seen_ms"] - on_topic["sent_ms"]),
    ]


def _costs(processes: dict[str, Watched], begin: float, end: float) -> Iterator[Value]:
    for name, watched in processes.items():
        yield Value(f"latency: CPU of the {name}", 100 * watched.cpu_between(begin, end) / (end - begin), "% of a core")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; with ``--early`` also with other intervals of early results, beside the default."""
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--rate", type=int, default=RATE, help=f"events a second (default {RATE})")
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"how long (default {SECONDS})")
    parser.add_argument("--early", type=float, nargs="*", default=[], help="intervals of early results to try as well")
    options = parser.parse_args(arguments)
    with real_bed(postgres=False) as bed:
        for early_s in (None, *options.early):
            print(f"early results every {early_s or bed.settings('').early_results_interval_s:g} s")
            for value in measure(bed, options.seconds, options.rate, early_s):
                print(f"  {value}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
