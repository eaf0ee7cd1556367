"""The spans of each stage, on its own parts in memory: what they say, and that nothing else changes."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import consumers.traces
import processors.traces
import producers.traces
from consumers.batches import Batch, Span
from penstock.letters import Headers
from penstock.metrics import METRICS
from penstock.settings import load_settings
from penstock.topics import BY_NAME
from penstock.tracing_export import provide
from penstock.tracing_spans import Budget, Tracing
from processors.stretch import Stretch
from processors.worker import Worker
from producers.stream import Outgoing
from producers.truth import Tally
from simulation.model import Entry
from tests.processors.fakes import ORDERS, Message, Stand, batch
from tests.processors.logs import APPENDED_MS, FIRST_PANE, entry, heartbeat, order

MINUTE = 60_000
Traced = tuple[Tracing, InMemorySpanExporter]


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Traced:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    provider, made = provide("processors", load_settings(trace_spans_per_second=10_000))
    kept = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return made, kept


def named(kept: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [span for span in kept.get_finished_spans() if span.name == name]


def trace_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return span.context.trace_id


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    return span.attributes or {}


# Producers


class Client:
    """Takes what is produced, and acknowledges when it is told to."""

    def __init__(self) -> None:
        self.taken: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    def produce(self, *arguments: Any, **more: Any) -> None:
        self.taken.append((arguments, more))


class Acknowledged:
    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 17


class Refusal:
    def str(self) -> str:
        return "too large"


def test_an_event_that_is_chosen_carries_its_span_which_ends_with_the_acknowledgement(traced: Traced) -> None:
    made, kept = traced
    traces, client, tally = producers.traces.Traces(made), Client(), Tally(sent=2)
    assert traces.chosen(4) == [0, 1, 2, 3]
    record = Outgoing(b"value", b"o-1", 3, tally.delivered)
    for _ in range(2):
        traces.followed(client.produce, "orders", record)("orders", b"value", "o-1", 3, tally.delivered)
    (arguments, more), (refused, _) = client.taken
    assert arguments[:4] == ("orders", b"value", "o-1", 3)
    assert kept.get_finished_spans() == ()
    arguments[4](None, Acknowledged())
    refused[4](Refusal(), None)
    sent, failed = named(kept, "send orders")
    assert (tally.acknowledged, tally.failure is not None) == (1, True)
    assert attributes(sent)["messaging.kafka.offset"] == 17
    assert attributes(sent)["messaging.kafka.message.key"] == "o-1"
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "too large")
    ((_, header),) = more["headers"]
    assert header.decode().split("-")[1] == f"{trace_of(sent):032x}"


def test_choices_go_on_from_call_to_call_and_end_with_the_budget(traced: Traced) -> None:
    made, _ = traced
    made.rate = 0.1
    values = iter([0.7] * 1_000)
    traces = producers.traces.Traces(made, lambda: next(values))  # each gap is 11
    assert [traces.chosen(8) for _ in range(5)] == [[], [3], [7], [], [3]]
    made.budget = Budget(5, lambda: 0.0)
    assert made.budget.take(9) == 5
    assert traces.chosen(120) == []


# Processors


class HeaderSender:
    """Keeps what is sent, with its headers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.headers: dict[tuple[str, bytes], list[tuple[str, bytes]]] = {}

    def send(
        self, topic: str, messages: Iterable[tuple[bytes, bytes]], headers: Mapping[bytes, Any] | None = None
    ) -> None:
        for key, value in messages:
            self.sent.append((topic, key, value))
            if headers and key in headers:
                self.headers[topic, key] = headers[key]


def stand_with(traces: processors.traces.Traces | None) -> tuple[Stand, HeaderSender]:
    stand = Stand()
    sender: Any = HeaderSender()
    before = stand.worker
    stand.worker = Worker(
        stand.settings, before._decoders, stand.outbox, sender, before.health, before._gauges, traces=traces
    )
    stand.begin()
    return stand, sender


def traceparent(trace: int) -> Headers:
    return [("traceparent", f"00-{trace:032x}-{1:016x}-01".encode())]


def placed(offset: int, at: int, number: int) -> Entry:
    return entry("orders", "OrderPlaced", order("OrderPlaced", number, FIRST_PANE + at, 5), offset)


LOG = [
    placed(0, 0, 1), placed(1, 1, 2), placed(2, 1, 2), placed(3, 2 * MINUTE, 3), placed(4, 0, 4),
    Entry(5, APPENDED_MS, "?", None, b"junk"),
    entry("orders", "Heartbeat", heartbeat(6, FIRST_PANE + 2 * MINUTE), 6),
    entry("orders", "OrderShipped", order("OrderShipped", 7, FIRST_PANE + 2 * MINUTE, 5), 7),
]  # fmt: skip
FATES = ["applied", "applied", "duplicate", "applied", "late", "dead", "control", "applied"]


def settle(stand: Stand, entries: Sequence[Entry], headers: Sequence[Headers | None]) -> None:
    whole = batch(entries)
    whole.records = Stretch.of([Message(each, its) for each, its in zip(entries, headers, strict=True)])
    asyncio.run(stand.worker.process(whole))
    stand.worker.send_changed()


def test_each_followed_event_has_a_span_with_its_fate_and_goes_on_with_what_it_changed(traced: Traced) -> None:
    made, kept = traced
    traces = processors.traces.Traces(made, "group", METRICS)
    stand, sender = stand_with(traces)
    settle(stand, LOG, [traceparent(each.offset + 1) for each in LOG])
    (whole,) = named(kept, "process batch orders")
    events = {attributes(span)["messaging.kafka.offset"]: span for span in named(kept, "process orders")}
    assert [attributes(events[offset])["penstock.fate"] for offset in range(8)] == FATES
    assert [trace_of(events[offset]) for offset in range(8)] == list(range(1, 9))
    assert {link.context.trace_id for link in whole.links} == set(range(1, 9))
    assert attributes(whole)["messaging.batch.message_count"] == 8
    assert attributes(whole)["penstock.applied_events"] == 4
    assert whole.context is not None
    assert all(span.links[0].context.span_id == whole.context.span_id for span in events.values())

    by_trace: dict[int, set[str]] = {}
    for (topic, key), headers in sender.headers.items():
        by_trace.setdefault(int(dict(headers)["traceparent"][3:35], 16), set()).add(f"{topic} {key.decode()}")
    late = FIRST_PANE + 2 * MINUTE
    assert by_trace == {
        1: {
            f"order-metrics-final.v1 order_metrics|{FIRST_PANE}|2|4:É|:",
            f"order-metrics-final.v1 product_sales|{FIRST_PANE}|2|2:s1",
            f"order-metrics-final.v1 order_panes|{FIRST_PANE}|2",
        },
        2: {f"order-metrics-final.v1 product_sales|{FIRST_PANE}|2|2:s2"},
        4: {
            f"order-metrics.v1 order_metrics|{late}|2|4:É|:",
            f"order-metrics.v1 order_panes|{late}|2",
        },
        5: {"late-events.v1 orders-id|2|4"},
        6: {"dead-letters.v1 orders-id|2|5"},
    }
    assert traces._waiting == {}
    panes = next(s for s in named(kept, "send order-metrics-final.v1") if "order_panes" in str(s.attributes))
    assert [link.context.trace_id for link in panes.links] == [2]


def test_tracing_changes_no_byte_no_order_no_fate_and_no_commit(traced: Traced) -> None:
    made, _ = traced
    outcomes = []
    for traces in (None, processors.traces.Traces(made, "group", METRICS)):
        stand, sender = stand_with(traces)
        for end in (3, 4, 8):
            begin = {3: 0, 4: 3, 8: 4}[end]
            settle(stand, LOG[begin:end], [traceparent(each.offset + 1) for each in LOG[begin:end]])
        outcomes.append((sorted(sender.sent), [topic for topic, *_ in sender.sent], stand.worker.commit_points()))
    assert outcomes[0] == outcomes[1]


def test_a_batch_without_sampled_events_makes_no_span(traced: Traced) -> None:
    made, kept = traced
    stand, sender = stand_with(processors.traces.Traces(made, "group", METRICS))
    settle(stand, LOG, [None, [("other", b"x")], *[None] * 6])
    assert kept.get_finished_spans() == ()
    assert sender.headers == {}


def test_what_is_folded_again_below_p_is_not_told_again_and_a_rebalance_forgets_what_was_waited_for(
    traced: Traced,
) -> None:
    made, kept = traced
    traces = processors.traces.Traces(made, "group", METRICS)
    stand, _ = stand_with(traces)
    first = LOG[:2]
    asyncio.run(stand.worker.process(batch(first, its_headers=traceparent(1))))
    commit = stand.worker.commit_points()[ORDERS]
    assert traces._waiting != {}
    stand.worker.drop_all()
    assert traces._waiting == {}
    kept.clear()
    stand.begin(2, commit)
    again = batch(LOG[:4], generation=2, its_headers=traceparent(1))
    asyncio.run(stand.worker.process(again))
    assert {attributes(span)["messaging.kafka.offset"] for span in named(kept, "process orders")} == {2, 3}


# Views


def test_a_view_batch_links_to_what_it_follows_and_is_around_the_commits(traced: Traced) -> None:
    made, kept = traced
    traces = consumers.traces.Traces(made, "views", "sqlite")
    places = pl.DataFrame({"partition": [0, 0, 1], "offset": [5, 6, 9], "appended_at": [1, 2, 3]})
    spans = (Span(0, 5, 7), Span(1, 9, 10))
    headers = [None, traceparent(6), traceparent(9)]
    whole = Batch(BY_NAME["orders"], spans, [b"a", b"b", b"c"], places, headers)
    with traces.batch("orders", whole), traces.commit("orders"):
        pass
    with traces.batch("orders", Batch(BY_NAME["orders"], spans, [b"a"], places)), traces.commit("orders"):
        pass
    (outer,), (commit,) = named(kept, "merge batch orders"), named(kept, "commit orders")
    events = named(kept, "merge orders")
    assert [link.context.trace_id for link in outer.links] == [6, 9]
    assert attributes(outer)["penstock.offsets"] == "0:[5, 7), 1:[9, 10)"
    assert commit.parent is not None
    assert outer.context is not None
    assert commit.parent.span_id == outer.context.span_id
    assert attributes(commit)["db.system.name"] == "sqlite"
    places_told = [(trace_of(span), attributes(span)["messaging.kafka.offset"]) for span in events]
    assert places_told == [(6, 6), (9, 9)]
    assert all(span.links[0].context.span_id == outer.context.span_id for span in events)
