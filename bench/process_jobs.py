"""Measuring the processors: one worker catches up on a backlog with a committed group of its own.

The clock and the CPU are read from the moment when the worker has its partitions (fetching begins then) until the
broker has appended the last final result. Start-up, imports and shutdown are left out.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from bench.answers import check, check_books, ends, final_results, frontiers, processors_reader
from bench.bed import PENSTOCK, Bed
from bench.events import Load
from bench.report import Figure
from bench.watch import Watched
from penstock.frontier import Frontier
from penstock.topics import BY_NAME

VARIANTS: dict[tuple[str, str], tuple[tuple[str, ...], set[str]]] = {
    ("orders", "all metrics"): ((), {"order_metrics", "product_sales", "order_panes"}),
    ("orders", "one metric"): (("by_country",), {"order_metrics"}),
    ("telemetry", "all metrics"): ((), {"telemetry_metrics", "telemetry_panes"}),
    ("telemetry", "one metric"): (("telemetry_metrics",), {"telemetry_metrics"}),
}
"""By job and variant: the metrics to choose (none: the product as it is), and those whose answers are compared."""

PROFILER = "BENCH_PROFILER"
"""Words of a command that takes a process id at its end and ends with that process; the figures are then no use."""


def measure(bed: Bed, prefix: str, version: int, load: Load, variant: str) -> Figure:
    """Fold ``load``, which fills the topics of ``prefix``, as pipeline ``version``.

    Returns the figure once the answers are right, raises :class:`bench.answers.WrongAnswerError` when they are not. The
    environment may name a program that watches the worker: see :data:`PROFILER`.
    """
    chosen, compared = VARIANTS[load.topic, variant]
    watched, committed = catch_up(bed, prefix, version, load.topic, chosen)
    what = f"process {load.topic}, {variant}"
    found, end = final_results(bed.settings(prefix, version), load.topic)
    truth = dict(load.truth)
    if chosen == ("by_country",):
        truth["order_metrics"] = truth["order_metrics"].drop("units")
    check(what, truth, found, compared)
    check_books(what, committed, len(load.events))
    return figure(watched, load.topic, variant, len(load.events), end)


def catch_up(
    bed: Bed, prefix: str, version: int, job: str, chosen: Sequence[str] = ()
) -> tuple[Watched, Mapping[int, tuple[int, Frontier]]]:
    """Let one worker fold all that the topic ``job`` holds; return the worker, which has ended, and its commits.

    ``chosen`` are some of :data:`bench.one_metric_worker.CHOICES`; without any the product is as it is.
    """
    settings = bed.settings(prefix, version)
    topic = BY_NAME[job].full_name(settings)
    bed.create_topics(prefix, version)
    command = [*PENSTOCK, "process"] if not chosen else [sys.executable, "-m", "bench.one_metric_worker", *chosen]
    environment = bed.environment(prefix, PENSTOCK_PIPELINE_VERSION=str(version))
    consumer = processors_reader(settings)
    total = sum(ends(consumer, topic).values())

    def settled() -> bool:
        time.sleep(0.1)
        return sum(offset for offset, _ in frontiers(settings, consumer, topic).values()) == total

    profiler = shlex.split(os.environ.get(PROFILER, ""))
    with bed.watch(f"process-{job}", command, environment) as watched:
        attached = None
        if profiler:
            watched.wait_until(lambda: watched.logged_at("assigned"), "the worker has its partitions")
            attached = subprocess.Popen([*profiler, str(watched.pid)])
        watched.wait_until(settled, "all events are settled")
        committed = frontiers(settings, consumer, topic)
        watched.stop()
    if attached is not None:
        attached.wait()
    consumer.close()
    return watched, committed


def figure(watched: Watched, job: str, variant: str, events: int, end: float) -> Figure:
    """Return what a worker cost from its assignment until ``end``, when its last result was appended."""
    begin = watched.logged_at("assigned")
    if begin is None:
        raise RuntimeError("the worker never said which partitions it has")
    cpu_s, rss_mb = watched.cpu_between(begin, end), watched.peak_rss_bytes() / 2**20
    return Figure(f"process {job}", variant, events, end - begin, cpu_s, rss_mb)
