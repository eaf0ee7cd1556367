"""Tracing: when it is on, what begins a trace, what is followed, and that it never holds anything up."""

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags

from penstock.errors import UsageError
from penstock.settings import load_settings
from penstock.tracing import tracing, wanted
from penstock.tracing_export import DEFAULT_RATE, END_GRACE_S, provide
from penstock.tracing_spans import Budget, Tracing, gaps

SETTINGS = load_settings(trace_spans_per_second=1_000)
OTEL = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_TRACES_EXPORTER", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG")


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*OTEL, "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def made() -> Iterator[Tracing]:
    provider, found = provide("processors", SETTINGS)
    yield found
    provider.shutdown()


@pytest.mark.parametrize(
    ("environment", "is_wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://jaeger:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://jaeger:4318"}, False),
        ({"OTEL_SERVICE_NAME": "mine", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, False),
    ],
)
def test_it_is_on_when_the_standard_variables_say_so(environment: dict[str, str], *, is_wanted: bool) -> None:
    assert wanted(environment) is is_wanted


def test_while_it_is_off_no_stage_imports_opentelemetry() -> None:
    code = (
        "import sys, producers.session, processors.run, consumers.run, penstock.log\n"
        "from penstock.settings import load_settings\n"
        "from penstock.tracing import tracing\n"
        "penstock.log.configure_logging(load_settings())\n"
        "with tracing('processors', load_settings()) as made: assert made is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("environment", "rate"),
    [
        ({}, DEFAULT_RATE),
        ({"OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"}, 0.5),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.001"}, 0.001),
    ],
)
def test_the_share_of_events_is_the_samplers(
    environment: dict[str, str], rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert provide("producers", SETTINGS)[1].rate == rate


def test_what_begins_a_trace_is_taken_by_the_sampler_however_small_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.0001")
    _, made = provide("producers", SETTINGS)
    spans = [made.begin("send orders", SpanKind.PRODUCER, {}) for _ in range(50)]
    assert all(span.is_recording() and span.get_span_context().trace_flags.sampled for span in spans)
    assert len({span.get_span_context().trace_id for span in spans}) == 50


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_TRACES_SAMPLER_ARG", "many", "OTEL_TRACES_SAMPLER_ARG: 'many' is wrong"),
        ("OTEL_TRACES_SAMPLER_ARG", "7", "must be a number from 0 to 1"),
        ("OTEL_TRACES_EXPORTER", "carrier-pigeon", "'carrier-pigeon' is not installed; there are otlp, "),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "speaks http/protobuf"),
    ],
)
def test_a_variable_that_cannot_be_followed_is_told(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=said), tracing("processors", SETTINGS):
        pass


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "penstock-consumers"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,team=data"}, "ours"),
    ],
)
def test_the_service_is_named_by_its_stage_or_by_the_standard_variables(
    environment: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    provider, _ = provide("consumers", SETTINGS)
    assert provider.resource.attributes["service.name"] == name


@pytest.mark.parametrize("rate", [0.5, 0.01, 0.001])
def test_gaps_choose_each_event_with_the_same_probability(rate: float) -> None:
    chance = random.Random(7)
    chosen = 20_000
    passed_over = sum(islice(gaps(rate, chance.random), chosen))
    assert chosen / (passed_over + chosen) == pytest.approx(rate, rel=0.03)


def test_gaps_of_everything_and_of_nothing() -> None:
    assert list(islice(gaps(1.0, random.Random(1).random), 5)) == [0] * 5
    assert list(gaps(0.0, random.Random(1).random)) == []


def test_the_budget_is_a_seconds_worth_at_once_and_comes_back_with_time() -> None:
    now = [100.0]
    budget = Budget(10, lambda: now[0])
    assert budget.take(3, each=4) == 2
    assert budget.take(5) == 2
    budget.count(1)
    assert (budget.left(), budget.take(1)) == (-1, 0)
    now[0] += 0.625
    assert budget.take(50) == 5
    now[0] += 3_600
    assert budget.take(50) == 10


def traceparent(trace: int, flags: str = "01") -> list[tuple[str, bytes | None]]:
    return [("other", None), ("traceparent", f"00-{trace:032x}-{1:016x}-{flags}".encode())]


def test_of_a_batch_only_sampled_records_are_followed_those_with_the_smallest_trace_ids_first(made: Tracing) -> None:
    headers = [None, traceparent(9), [], traceparent(3), traceparent(1, "00"), [("x", b"y")], traceparent(5)]
    wrong = [[("traceparent", b"00-zz-01")], [("traceparent", None)], [("traceparent", b"0" * 54 + b"1")]]
    made.budget = Budget(3)
    traced, sampled = made.traced([*headers, *wrong])
    assert [(each.position, each.context.trace_id) for each in traced] == [(3, 3), (6, 5)]
    assert sampled == 4
    made.budget = Budget(100)
    traced, _ = made.traced(headers)
    assert [(each.position, each.context.trace_id) for each in traced] == [(3, 3), (6, 5), (1, 9)]
    assert all(each.context.is_remote and each.context.span_id == 1 for each in traced)
    assert made.traced([]) == made.traced([None] * 10) == ([], 0)
    assert made.traced(headers, each=1_000) == ([], 0)


def test_headers_carry_a_context_to_the_next_stage(made: Tracing) -> None:
    context = SpanContext(77, 88, is_remote=False, trace_flags=TraceFlags(1))
    headers: list[tuple[str, bytes | None]] = list(made.headers(context))
    ((_, found),), _ = made.traced([headers])
    assert (found.trace_id, found.span_id, found.trace_flags) == (77, 88, 1)


def test_a_batch_is_a_trace_of_its_own_that_links_to_what_is_followed() -> None:
    provider, made = provide("processors", SETTINGS)
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    traced, _ = made.traced([traceparent(3), traceparent(4)])
    with made.batch("process", "orders", traced, {"messaging.batch.message_count": 2}) as span:
        event = made.begin("process orders", SpanKind.CONSUMER, {}, traced[0].context, [span.get_span_context()])
        event.end()
        with made.child("commit orders", SpanKind.CLIENT, {}):
            pass
    by_name = {each.name: each for each in kept.get_finished_spans()}
    batch, one, child = (by_name[name] for name in ("process batch orders", "process orders", "commit orders"))
    assert batch.parent is None
    assert [link.context.trace_id for link in batch.links] == [3, 4]
    assert (batch.attributes or {})["messaging.system"] == "kafka"
    assert one.parent is not None
    assert batch.context is not None
    assert (one.parent.trace_id, one.links[0].context.span_id) == (3, batch.context.span_id)
    assert child.parent is not None
    assert child.parent.span_id == batch.context.span_id


def test_a_collector_that_never_answers_blocks_nothing_and_holds_up_the_end_for_no_more_than_its_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
        with tracing("processors", SETTINGS) as made:
            assert made is not None
            began = time.monotonic()
            for _ in range(3_000):  # more than the queue takes
                made.begin("process orders", SpanKind.CONSUMER, {}).end()
            assert time.monotonic() - began < 5
            ended = time.monotonic()
        assert time.monotonic() - ended < END_GRACE_S + 3


def test_a_log_line_about_a_batch_names_it_and_its_trace() -> None:
    code = """
from penstock.log import about_batch, configure_logging, get_logger
from penstock.settings import load_settings
from penstock.tracing import tracing
settings = load_settings(log_format="json")
configure_logging(settings)
with tracing("processors", settings) as made:
    with about_batch("orders", 2, "[5, 9)"), made.batch("process", "orders", [], {}):
        get_logger("processors").warning("inside")
    get_logger("processors").warning("outside")
    try:
        with about_batch("orders", 3, "[6, 9)", after_errors=True):
            raise RuntimeError
    except RuntimeError:
        get_logger("processors").error("stopped")
"""
    environment = {"OTEL_TRACES_EXPORTER": "otlp", "PATH": "", "PYTHONPATH": ".", "OTEL_TRACES_SAMPLER": "always_on"}
    environment["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    lines = {line["event"]: line for line in map(json.loads, done.stderr.splitlines())}
    inside, outside, stopped = lines["inside"], lines["outside"], lines["stopped"]
    assert (inside["topic"], inside["partition"], inside["offsets"]) == ("orders", 2, "[5, 9)")
    assert len(inside["trace_id"]) == 32
    assert len(inside["span_id"]) == 16
    assert not {"topic", "trace_id"} & set(outside)
    assert (stopped["partition"], stopped["offsets"]) == (3, "[6, 9)")
