"""The Faust app: one agent that takes batches and sends early results, one task that sends what is left.

``faust -A processors.app worker`` finds :data:`app` here; it is made when it is first asked for.
"""

import atexit
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from threading import Event
from typing import TYPE_CHECKING, Any

import faust
from faust.app import BootStrategy
from prometheus_client import REGISTRY, CollectorRegistry

from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.health import Health
from penstock.kafka import topic_ids
from penstock.metrics import METRICS, Metric
from penstock.schema_ids import schema_ids
from penstock.settings import Settings, load_settings
from penstock.topics import SOURCES, TOPICS, group_id
from penstock.tracing import tracing
from penstock.waiting import wait_for
from processors.gauges import Gauges
from processors.lineage import check_lineage
from processors.outbox import Outbox
from processors.pace import Pace
from processors.sender import Sender
from processors.transport import BatchSchema, Transport
from processors.worker import Worker

if TYPE_CHECKING:
    from penstock.tracing_spans import Tracing
    from processors.traces import Traces

BUFFERED_BATCHES = 8
"""Batches that may wait for the agent; Faust counts batches, not records."""


class WithoutWeb(BootStrategy):
    """Never starts Faust's web server, whatever its command line says: it would show tables on all addresses."""

    enable_web = False


class App(faust.App):
    """A Faust app without a web server, and without folders for tables where it was started."""

    BootStrategy = WithoutWeb

    def _create_directories(self) -> None:
        """Make none: there is no state but the log's."""


def make_app(  # noqa: PLR0913  # what its parts need
    settings: Settings,
    health: Health,
    registry: CollectorRegistry,
    metrics: Sequence[Metric] = METRICS,
    traced: "Tracing | None" = None,
    stopping: Event | None = None,
) -> faust.App:
    """Return the app, ready to start. Waits for the broker and the registry for as long as they are away.

    Raises GaveUpWaiting when ``stopping`` is set meanwhile.
    """
    app = unconnected(settings)
    transport = _make_transport(app, settings, health, registry, metrics, traced, stopping)
    connect(app, transport)
    return app


def unconnected(settings: Settings) -> faust.App:
    """Return the app, to be connected."""
    return App(
        id=group_id(settings, "processors"),
        broker=f"kafka://{settings.kafka_bootstrap_servers.split(',')[0]}",
        broker_session_timeout=settings.session_timeout_ms / 1000,
        broker_commit_interval=settings.commit_interval_s,
        stream_buffer_maxsize=BUFFERED_BATCHES,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_bind="127.0.0.1",
        loghandlers=[],
    )


def connect(app: faust.App, transport: Transport) -> None:
    """Have the app fold what comes by ``transport``."""
    app.transport = app.producer_transport = transport
    _add_agent(app, transport.settings, transport.worker, transport.pace)


def _make_transport(  # noqa: PLR0913  # its parts
    app: faust.App,
    settings: Settings,
    health: Health,
    registry: CollectorRegistry,
    metrics: Sequence[Metric],
    traced: "Tracing | None",
    stopping: Event | None,
) -> Transport:
    waiting = partial(wait_for, health=health, stopping=stopping)
    current = waiting("kafka", lambda: topic_ids(settings, TOPICS))
    contracts = load_contracts()
    ids = schema_ids(settings)
    outbox = waiting("registry", lambda: Outbox(settings, contracts, ids))
    waiting("kafka", lambda: check_lineage(settings, metrics, contracts, ids, current))
    decoders = {topic.name: Decoder(topic, contracts, ids, settings.max_record_bytes) for topic in SOURCES}
    sender = Sender(settings, health)
    traces = None if traced is None else _make_traces(traced, settings, metrics)
    worker = Worker(settings, decoders, outbox, sender, health, Gauges(registry), metrics, traces=traces)
    return Transport(app, settings, {topic.name: current[topic.name] for topic in SOURCES}, sender, worker)


def _make_traces(traced: "Tracing", settings: Settings, metrics: Sequence[Metric]) -> "Traces":
    from processors.traces import Traces

    return Traces(traced, group_id(settings, "processors"), metrics)


def _add_agent(app: faust.App, settings: Settings, worker: Worker, pace: Pace) -> None:
    sources = app.topic(*(topic.full_name(settings) for topic in SOURCES), schema=BatchSchema())

    def send_early_results() -> None:
        if pace.time_to_send() and worker.send_changed():
            pace.sent()

    @app.agent(sources, name="fold")
    async def fold(batches: Any) -> None:
        async for batch in batches:
            try:
                await worker.process(batch)
                if worker.backlog.empty:
                    send_early_results()
            except Exception as error:
                worker.fail(error)

    # Not a timer of Faust's, which warns of each round that takes longer than the interval.
    @app.task  # type: ignore[untyped-decorator]
    async def send_what_is_left() -> None:
        while not app.should_stop:
            await app.sleep(settings.early_results_interval_s)
            try:
                worker.backlog.look()
                send_early_results()
            except Exception as error:
                worker.fail(error)


def __getattr__(name: str) -> faust.App:
    if name != "app":
        raise AttributeError(name)
    settings, parts = load_settings(), ExitStack()
    atexit.register(parts.close)
    traced = parts.enter_context(tracing("processors", settings))
    made = globals()["app"] = make_app(settings, Health(), REGISTRY, traced=traced)
    return made
