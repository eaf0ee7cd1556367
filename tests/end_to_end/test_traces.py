"""Traces of the whole pipeline, as a collector gets them from the stages' processes; on the embedded broker."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from penstock.settings import load_settings
from penstock.topics import TOPICS
from testbed.collector import CollectedSpan, Collector
from testbed.pipeline import Parts, Pipeline, Stage
from testbed.processes import LOOPBACK, wait_until

PATIENCE_S = 90.0
EVENTS = 20


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    owner = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1})
    servers = ",".join(f"{one.host}:{one.port}" for one in owner.list_topics(timeout=10).brokers.values())
    settings = {"PENSTOCK_EMBEDDED": "true", "PENSTOCK_SESSION_TIMEOUT_MS": "4000", "LOG_FORMAT": "json"}
    tracing = {"OTEL_TRACES_SAMPLER": "always_on", "OTEL_BSP_SCHEDULE_DELAY": "200"}
    settings["PENSTOCK_TRACE_SPANS_PER_SECOND"] = "5000"
    with Pipeline(Parts(servers, ""), tmp_path, prefix="t-", **settings, **tracing) as made:
        for topic in TOPICS:  # the embedded broker makes a topic when it is asked for it
            owner.list_topics(topic.full_name(load_settings(topic_prefix=made.prefix)), timeout=10)
        yield made
    del owner


def produce(pipeline: Pipeline, *more: str, count: int = EVENTS) -> None:
    pipeline.send("produce", "orders", "--count", str(count), *more)


def whole(collector: Collector) -> list[CollectedSpan]:
    """Return a trace that goes all the way, or nothing yet."""
    way = {"send t-orders", "process t-orders", "send t-order-metrics.v1", "merge t-order-metrics.v1", "merge t-orders"}
    return next((spans for spans in collector.traces().values() if way <= {span.name for span in spans}), [])


def test_one_trace_leads_from_the_producer_to_the_view(pipeline: Pipeline) -> None:
    with Collector() as collector:
        pipeline.use(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
        (processor,), views = pipeline.start_processors(), pipeline.start_views()
        processor.until_ready(PATIENCE_S)
        views.until_ready(PATIENCE_S)
        produce(pipeline, "--no-close")  # panes stay open, so that early results are sent
        trace = wait_until(lambda: whole(collector), PATIENCE_S, "a trace from producer to view")
        produce(pipeline, count=20 * EVENTS)
        pipeline.settle()
        batches = sum(batch_count(stage) for stage in (processor, views))
        pipeline.stop()
        by_id = {span.id: span for span in collector.spans}

    sent, processed, result, merged = (
        next(span for span in trace if span.name == name)
        for name in ("send t-orders", "process t-orders", "send t-order-metrics.v1", "merge t-order-metrics.v1")
    )
    services = [span.service for span in (sent, processed, result, merged)]
    assert services == ["penstock-producers", "penstock-processors", "penstock-processors", "penstock-consumers"]
    assert sent.parent == ""
    assert (processed.parent, by_id[result.parent].name) == (sent.id, processed.name)
    assert by_id[merged.parent].name == result.name
    assert processed.attributes["penstock.fate"] == "applied"
    for attribute in ("messaging.destination.partition.id", "messaging.kafka.offset"):
        assert processed.attributes[attribute] == sent.attributes[attribute]
    assert sent.begin_ns <= processed.begin_ns <= result.begin_ns <= merged.begin_ns

    batch = by_id[merged.links[0]]
    assert (by_id[processed.links[0]].name, batch.name) == ("process batch t-orders", "merge batch t-order-metrics.v1")
    commits = {span.name for span in by_id.values() if span.parent == batch.id}
    assert "commit order_metrics" in commits

    for stage in (processor, views):
        lines = [json.loads(line) for line in stage.log.splitlines() if line.startswith("{")]
        assert batches > 5
        about_batches = [line for line in lines if "offsets" in line]
        assert about_batches == [], "a line for a batch that nothing is wrong with"
        # Faust tells of its services, and on a loaded machine of timers that came late.
        assert len([line for line in lines if "Timer" not in line["event"]]) < 2 * EVENTS < pipeline.acknowledged / 5


def batch_count(stage: Stage) -> float:
    return sum(value for name, _, value in stage.metrics() if name == "penstock_batch_events_count")


@pytest.mark.slow
def test_a_collector_that_is_away_or_never_answers_holds_up_no_stage(pipeline: Pipeline) -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        pipeline.use(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{LOOPBACK}:{silent.getsockname()[1]}")
        (processor,) = pipeline.start_processors()
        views = pipeline.start_views(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://{LOOPBACK}:9")
        processor.until_ready(PATIENCE_S)
        views.until_ready(PATIENCE_S)
        for _ in range(3):
            produce(pipeline)
        pipeline.settle()
        logs = {stage.name: stage for stage in (processor, views)}
        began = time.monotonic()
        pipeline.stop()
        assert time.monotonic() - began < 30
        assert all("opentelemetry" not in stage.log.lower() or "Traceback" not in stage.log for stage in logs.values())
        for stage in logs.values():
            assert len(stage.log.splitlines()) < 60
