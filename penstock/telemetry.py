"""The names of all operational metrics, declared once. Base units; labels of few values.

Each stage makes its own :class:`CollectorRegistry` and takes from here what it needs; business figures are gauges
that the consumers read from the views at scrape time (``consumers/figures.py``).
"""

import platform
from dataclasses import dataclass
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


@dataclass(frozen=True)
class Declared:
    """A metric's kind, name, help and labels."""

    kind: type[Counter] | type[Gauge] | type[Histogram]
    name: str
    help: str
    labels: tuple[str, ...] = ()


# fmt: off
PRODUCED = Declared(Counter, "penstock_produced_events_total", "Events acknowledged by the broker.", ("topic",))
PRODUCE_WAITING = Declared(Gauge, "penstock_produce_queue_events", "Events handed over, not acknowledged.")
EVENTS = Declared(Counter, "penstock_events_total", "Records settled, by fate.", ("topic", "partition", "fate"))
BOOKS_EVENTS = Declared(
    Gauge, "penstock_books_events", "Records of [start, P) by fate, from the frontier.", ("topic", "partition", "fate")
)
IMBALANCE = Declared(
    Gauge, "penstock_books_imbalance_events", "Offsets passed without a fate: must be 0.", ("topic", "partition")
)
BOOKS_VIEW_EVENTS = Declared(
    Gauge, "penstock_books_view_events", "Events that the views hold, to compare with the books.",
    ("topic", "partition", "fate")
)
"""Read by the views' files: applied events from ``pane_counts``, late and dead ones from the letters."""
DEAD_LETTERS = Declared(
    Counter, "penstock_dead_letters_total", "Records dead-lettered, by reason.", ("topic", "reason")
)
LAG_EVENTS = Declared(
    Gauge, "penstock_lag_events", "Records in the log that are not settled.", ("stage", "topic", "partition")
)
LAG_SECONDS = Declared(
    Gauge, "penstock_lag_seconds", "Age of the oldest record not settled; 0 without lag.",
    ("stage", "topic", "partition")
)
WATERMARK_DELAY = Declared(
    Gauge, "penstock_watermark_delay_seconds", "Wall clock minus the partition's watermark.", ("topic", "partition")
)
BATCH_EVENTS = Declared(Histogram, "penstock_batch_events", "Records in a batch.", ("stage",))
BATCH_SECONDS = Declared(Histogram, "penstock_batch_duration_seconds", "Time to settle a batch.", ("stage",))
OPEN_PANES = Declared(Gauge, "penstock_open_panes", "Panes that are not final.", ("topic", "partition"))
REFOLDED = Declared(
    Gauge, "penstock_refolded_events", "Records read again at the last start or rebalance.", ("topic", "partition")
)
COMMIT_AGE = Declared(Gauge, "penstock_commit_age_seconds", "Time since the last commit.", ("stage",))
RESULTS_SENT = Declared(Counter, "penstock_results_sent_total", "Result rows sent.", ("topic", "final"))
VIEW_ROWS = Declared(Counter, "penstock_view_records_total", "Records merged into views.", ("view",))
VIEW_SKIPPED = Declared(
    Counter, "penstock_view_skipped_records_total", "Records that a view could not decode.", ("view", "reason")
)
VIEW_FENCED = Declared(
    Counter, "penstock_view_fenced_batches_total", "Batches rolled back because another instance was ahead.", ("view",)
)
FRESHNESS = Declared(
    Histogram, "penstock_freshness_seconds", "How old the views' numbers are, by the newest probe of each partition, "
    "looked at once a second.", ("topic",)
)
"""A probe is a heartbeat that says when it was sent; the freshness objective is made of this."""
PROBE_AGE = Declared(
    Gauge, "penstock_freshness_probe_age_seconds", "Age of the newest probe of a partition that the views have passed.",
    ("topic", "partition")
)
NEXT_OFFSET = Declared(
    Gauge, "penstock_next_offset", "First offset that is not settled: it moves while there is lag.",
    ("stage", "topic", "partition")
)
PART_AWAY = Declared(
    Gauge, "penstock_part_away", "1 while a part that the stage needs does not answer, 0 once it did.",
    ("stage", "part")
)
DATABASE_SIZE = Declared(Gauge, "penstock_database_size_bytes", "Size of the views' database.", ("database",))
DATABASE_FREE = Declared(
    Gauge, "penstock_database_free_bytes", "Room that the database has left: on the disk of a SQLite file, or up to "
    "PENSTOCK_DATABASE_CAPACITY_BYTES.", ("database",)
)
END_TO_END = Declared(
    Histogram, "penstock_end_to_end_latency_seconds", "From the newest folded append time to the view's commit.",
    ("view",),
)
VERIFY_PROVED = Declared(Gauge, "penstock_verify_proved", "1 if the newest verification proved every number, else 0.")
VERIFY_DIFFERENCES = Declared(Gauge, "penstock_verify_differences", "What the newest verification found.", ("view",))
VERIFY_EVENTS = Declared(Gauge, "penstock_verify_events", "Events that the newest verification recomputed.")
VERIFY_SECONDS = Declared(Gauge, "penstock_verify_duration_seconds", "Time that the newest verification took.")
VERIFY_AT = Declared(Gauge, "penstock_verify_timestamp_seconds", "When the newest verification ended.")
HTTP_REQUESTS = Declared(
    Counter, "penstock_http_requests_total", "Requests answered, by route and status.", ("route", "status")
)
HTTP_SECONDS = Declared(Histogram, "penstock_http_request_duration_seconds", "Time to answer a request.", ("route",))
STREAM_CLIENTS = Declared(Gauge, "penstock_stream_clients", "Readers of the stream of changes.")
STREAM_DROPPED = Declared(Counter, "penstock_stream_dropped_clients_total", "Readers cut off: they were too slow.")
STREAM_FRAMES = Declared(Counter, "penstock_stream_frames_total", "Frames handed to readers of the stream.")
# fmt: on


def counter(declared: Declared, registry: CollectorRegistry) -> Counter:
    """Make the counter in ``registry``."""
    return Counter(declared.name, declared.help, declared.labels, registry=registry)


def gauge(declared: Declared, registry: CollectorRegistry) -> Gauge:
    """Make the gauge in ``registry``."""
    return Gauge(declared.name, declared.help, declared.labels, registry=registry)


def histogram(
    declared: Declared, registry: CollectorRegistry, buckets: tuple[float, ...] = LATENCY_BUCKETS_S
) -> Histogram:
    """Make the histogram in ``registry``."""
    return Histogram(declared.name, declared.help, declared.labels, registry=registry, buckets=buckets)


def build_info(stage: str, registry: CollectorRegistry) -> None:
    """Say which build this is, and what its process takes: memory, CPU, open files, since when it runs."""
    ProcessCollector(registry=registry)
    info = Info("penstock_build", "This build of Penstock.", registry=registry)
    info.info({"version": version("penstock"), "python": platform.python_version(), "stage": stage})
