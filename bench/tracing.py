"""``python -m bench.tracing``: what tracing a 1 % sample costs each stage, in CPU seconds.

Each stage's own parts do the same work twice in one process, a batch without tracing and a batch with it in turn, and
send the spans to a collector in another process. The CPU seconds are of all threads; what the exporter takes is
measured apart, at the end of a run, and counted. The budget of spans is by the CPU seconds of the work with tracing,
as on a machine that has a core for the process, and spent at the start, as after a while. No Kafka is needed: batches
lie in memory, and what is produced goes to the embedded broker, in a process of its own.
"""

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import Pipe, get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import polars as pl
from confluent_kafka import Producer
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from prometheus_client import CollectorRegistry

from bench.events import Load, load_of
from consumers.batches import Batch as ViewBatch
from consumers.batches import Span
from consumers.materializer import merge, stage
from consumers.offsets import Place, Stored
from consumers.sqlite_store import SqliteStore
from consumers.tables import prepare
from consumers.view_files import View, choose_views, load_views
from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.frontier import Frontier
from penstock.health import Health
from penstock.log import configure_logging
from penstock.pipeline import NO_TIME, fingerprint
from penstock.schema_ids import LockedIds
from penstock.settings import load_settings
from penstock.topics import BY_NAME, SOURCES
from penstock.tracing_export import begin
from penstock.tracing_spans import Budget, Tracing
from processors.consumer import Batch
from processors.gauges import Gauges
from processors.outbox import Outbox
from processors.restore import Restored
from processors.stretch import Stretch
from processors.worker import Worker
from producers.chance import stream_of
from producers.delivery import Delivery, Limits
from producers.modelled import Plan, workload
from producers.partitions import partitions_of
from producers.run import CHUNK_EVENTS
from producers.session import encoders_of
from producers.sources import Modelled
from producers.stream import Pulse, Stream
from testbed.collector import Collector

RATE = 0.01
LIMIT = 0.03
BATCH = 5_000
"""Records of one partition in a batch: what four partitions share of a fetch of 20,000."""

T = TypeVar("T")
Job = Callable[[Tracing | None], Iterator[None]]
"""Begins a run, and yields after each batch."""


def main() -> int:
    """Measure and print; 1 when a stage's cost is above the limit."""
    options = _parser().parse_args()
    configure_logging(load_settings(log_level="ERROR"))
    wrong = []
    with (
        _elsewhere(_serve_collector) as url,
        _elsewhere(_serve_broker) as broker,
        TemporaryDirectory(prefix="penstock-bench-") as folder,
    ):
        os.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_TRACES_SAMPLER_ARG": str(RATE)}
        os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "3600000"
        for name, events, job in _jobs(options.events, Path(folder), broker):
            cost, without, spans = _compare(name, job, options.runs)
            told = f"{events / without:9,.0f} events per CPU second without, {100 * cost:+5.1f} % with"
            print(f"{name:24} {told}, {spans:,} spans", flush=True)
            wrong += [name] if cost > LIMIT else []
    print(json.dumps({"sample": RATE, "limit": LIMIT, "above": wrong}))
    return 1 if wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.tracing", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="events of each run")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; the median counts")
    return parser


def _compare(name: str, job: Job, runs: int) -> tuple[float, float, int]:
    """Return what tracing adds, as a share; the CPU seconds of a run without; the spans of a run with."""
    settings = load_settings()
    costs, seconds, spans = [], [], 0
    for _ in range(runs):
        without, with_spans = _Work(), _Work()
        provider, made = begin(name.split(maxsplit=1)[0], settings)
        provider.add_span_processor(counter := _Counter())
        made.budget = Budget(settings.trace_spans_per_second, with_spans.cpu_s)
        made.budget.count(made.budget.left())
        steps = [(without, job(None)), (with_spans, job(made))]
        while sum(work.step(batches) for work, batches in steps) == len(steps):
            steps.reverse()  # who comes second finds the batch in the processor's cache
        with_spans.do(provider.force_flush)
        spans = counter.ended
        provider.shutdown()
        costs.append(with_spans.seconds / without.seconds - 1)
        seconds.append(without.seconds)
    return statistics.median(costs), statistics.median(seconds), spans


class _Work:
    """CPU seconds that were used for something."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def cpu_s(self) -> float:
        """Return them."""
        return self.seconds

    def do(self, work: Callable[[], T]) -> T:
        """Do some of it."""
        before = time.process_time()
        done = work()
        self.seconds += time.process_time() - before
        return done

    def step(self, batches: Iterator[None]) -> bool:
        """Do a batch of it; False when there are no more."""
        return self.do(lambda: next(batches, self)) is not self


class _Counter(SpanProcessor):
    """Counts spans."""

    ended = 0

    def on_end(self, span: ReadableSpan) -> None:
        self.ended += 1


def _jobs(events: int, folder: Path, broker: str) -> Iterator[tuple[str, int, Job]]:
    for topic in ("orders", "telemetry"):
        load = load_of(topic, events, LockedIds())
        yield f"processors {topic}", events, _processing(load)
        if topic == "orders":
            yield "consumers orders SQLite", events, _merging(load, folder)
        yield f"producers {topic}", events // 5, _producing(topic, events // 5, broker)


def _headers(count: int) -> list[Any]:
    chance = random.Random(1)
    chosen = set(chance.sample(range(count), int(count * RATE)))
    return [_traceparent(chance) if position in chosen else None for position in range(count)]


def _traceparent(chance: random.Random) -> list[tuple[str, bytes]]:
    return [("traceparent", f"00-{chance.getrandbits(128):032x}-{chance.getrandbits(64):016x}-01".encode())]


class _Sender:
    """Takes results, and nothing comes of them."""

    def send(self, _topic: str, messages: Any, _headers: Any = None) -> None:
        for _ in messages:
            pass


def _processing(load: Load) -> Job:
    settings, contracts, ids = load_settings(embedded=True), load_contracts(), LockedIds()
    decoders = {topic.name: Decoder(topic, contracts, ids, settings.max_record_bytes) for topic in SOURCES}
    values = [value for _, value in load.events]
    keys, headers = [key for key, _ in load.events], _headers(len(values))
    now = time.time_ns() // 1_000_000
    sender: Any = _Sender()
    loop = asyncio.new_event_loop()

    def run(made: Tracing | None) -> Iterator[None]:
        from penstock.metrics import METRICS
        from processors.traces import Traces

        traces = None if made is None else Traces(made, "bench", METRICS)
        outbox = Outbox(settings, contracts, ids)
        worker = Worker(
            settings, decoders, outbox, sender, Health(), Gauges(CollectorRegistry()), traces=traces
        )
        fresh = Frontier("id", 0, 0, NO_TIME, fingerprint())
        worker.begin(1, {(load.topic, 0): Restored(0, fresh)})
        for at in range(0, len(values), BATCH):
            end = min(at + BATCH, len(values))
            offsets, times = list(range(at, end)), [now] * (end - at)
            records = Stretch(offsets, times, list(values[at:end]), list(keys[at:end]), headers[at:end])
            loop.run_until_complete(worker.process(Batch(load.topic, 0, 1, records, at, end)))
            yield

    return run


def _merging(load: Load, folder: Path) -> Job:
    (view,) = choose_views(load_views(), ["orders"])
    topic, settings = BY_NAME["orders"], load_settings()
    decoder = Decoder(topic, load_contracts(), LockedIds(), settings.max_record_bytes)
    values, headers = [value for _, value in load.events], _headers(len(load.events))
    now = time.time_ns() // 1_000_000
    runs = iter(range(1_000_000))

    def run(made: Tracing | None) -> Iterator[None]:
        from consumers.traces import Traces

        traces = None if made is None else Traces(made, "bench", "sqlite")
        store = SqliteStore.from_url(f"sqlite:///{folder / f'{next(runs)}.db'}")
        prepare(store, [view], 1)
        stored: dict[Any, Any] = {}
        for at in range(0, len(values), 2 * BATCH):
            end = min(at + 2 * BATCH, len(values))
            places = pl.DataFrame({"partition": [0] * (end - at), "offset": range(at, end), "appended_at": now})
            batch = ViewBatch(topic, (Span(0, at, end),), values[at:end], places, headers[at:end] if traces else ())
            if traces is None:
                _merge(store, view, batch, decoder, stored)
            else:
                with traces.batch("orders", batch), traces.commit("orders"):
                    _merge(store, view, batch, decoder, stored)
            yield
        store.close()

    return run


def _merge(store: SqliteStore, view: View, batch: ViewBatch, decoder: Decoder, stored: dict[Place, Stored]) -> None:
    staged = stage(view, batch, decoder.decode(batch.values), "id", stored)
    if staged is not None:
        merge(store, view, 1, staged)
        stored.update({move.place: Stored(move.topic_id, move.new) for move in staged.moves})


def _producing(topic: str, events: int, broker: str) -> Job:
    settings = load_settings(embedded=True, kafka_bootstrap_servers=broker)
    encoders = encoders_of(BY_NAME[topic], LockedIds())

    def run(made: Tracing | None) -> Iterator[None]:
        from producers.traces import Traces

        traces = None if made is None else Traces(made)
        delivery = Delivery(settings, Health(), threading.Event(), CollectorRegistry(), Limits(), traces)
        truth = delivery.open([BY_NAME[topic]])[topic]
        plan = Plan((topic,), seed=1, count=events)
        model = workload(topic, plan, partial(partitions_of, partitions=truth.partitions))
        stream = Stream(truth, encoders, Pulse("bench"), stream_of(1, topic))
        source = Modelled(model, plan.schedule(topic, time.time_ns() // 1_000_000), encoders)
        while not source.finished:
            chunk = source.take(None, CHUNK_EVENTS)
            delivery.send(topic, stream.advance(chunk, int(chunk.times[-1])))
            delivery.tend(0)
            yield
        if not delivery.finish(60):
            raise TimeoutError("the embedded broker did not acknowledge all")

    return run


@contextmanager
def _elsewhere(serve: Callable[[Any], None]) -> Iterator[str]:
    """Run what serves in a process of its own; yield the address that it tells."""
    here, there = Pipe()
    process = get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        here.close()
        process.join(10)


def _serve_collector(told: Any) -> None:
    with Collector() as collector:
        told.send(collector.url)
        _until_closed(told)


def _serve_broker(told: Any) -> None:
    owner = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1, "log_level": 2})
    told.send(",".join(f"{one.host}:{one.port}" for one in owner.list_topics(timeout=10).brokers.values()))
    _until_closed(told)


def _until_closed(told: Any) -> None:
    with suppress(EOFError):
        told.recv()


if __name__ == "__main__":
    sys.exit(main())
