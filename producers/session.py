"""A producing command from its start to its last line: parts awaited, feeds run, truth told."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from rich.console import Console

from penstock.contracts import contracts_of, load_contracts
from penstock.errors import ExitCode, GaveUpWaiting
from penstock.garbage import collecting_rarely
from penstock.health import Health
from penstock.http import serve_http
from penstock.log import get_logger
from penstock.progress import Progress, Silent
from penstock.schema_ids import SchemaIds, schema_ids
from penstock.settings import Settings
from penstock.stopping import stop_on_signals
from penstock.telemetry import build_info
from penstock.topics import Topic
from penstock.tracing import tracing
from penstock.waiting import wait_for
from producers.delivery import Delivery, Limits
from producers.report import check_writable, show_truth, write_truth
from producers.rows import Encoders
from producers.run import Clock, Feed, run
from producers.truth import TopicTruth, document
from producers.watched import watched

if TYPE_CHECKING:
    from penstock.tracing_spans import Tracing
    from producers.traces import Traces


@dataclass(frozen=True)
class Session:
    """What every producing command needs to know, whatever it sends."""

    title: str
    topics: tuple[Topic, ...]
    close: bool
    """Whether closing heartbeats make all panes final at the end."""
    truth_file: Path | None = None
    timeout_s: float | None = None
    seed: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More to write into the truth."""
    progress: Progress = field(default_factory=Silent)
    """Is told how many events are sent."""


MakeFeeds = Callable[[Topic, TopicTruth, Encoders], Feed]
"""Makes the feed of a topic, once its partition count and the ids of its schemas are known."""


def produce(session: Session, settings: Settings, make_feed: MakeFeeds, clock: Clock | None) -> int:
    """Run ``session`` to its end, or to SIGTERM or SIGINT, and return the exit code.

    A run with a ``clock`` lives for a while: it serves HTTP. One without is over soon, and serves it only if
    ``PENSTOCK_HTTP_PORT`` is set, so that it does not take the port of a stage.
    """
    check_writable(session.truth_file)
    health, registry = Health(), CollectorRegistry()
    build_info("producers", registry)
    serves = clock is not None or settings.http_port is not None
    with (
        stop_on_signals() as stopping,
        tracing("producers", settings) as traced,
        serve_http("producers", settings, health, registry) if serves else nullcontext() as address,
    ):
        try:
            limits = Limits(session.timeout_s)
            delivery = Delivery(settings, health, stopping, registry, limits, _traces(traced))
            truths = delivery.open(session.topics)
            encoders = {topic.name: _encoders(topic, settings, session, health, stopping) for topic in session.topics}
        except GaveUpWaiting:
            if not stopping.is_set():
                raise
            _tell(session, {}, 0.0)  # nothing was sent, so nothing is lost
            return ExitCode.OK
        feeds = [make_feed(topic, truths[topic.name], encoders[topic.name]) for topic in session.topics]
        feeds = watched(feeds, session.progress)
        health.started()
        known = {"seed": session.seed, "metrics": address}
        known = {name: value for name, value in known.items() if value is not None}
        get_logger("producers").info("producing", what=session.title, **known)
        began = time.monotonic()
        try:
            with collecting_rarely():
                complete = run(feeds, delivery, stopping, clock=clock, close=session.close)
        finally:
            _tell(session, truths, time.monotonic() - began)
    if not complete:
        raise GaveUpWaiting(f"stopped with {delivery.waiting} events that the broker has not acknowledged")
    return ExitCode.OK


def _traces(traced: "Tracing | None") -> "Traces | None":
    if traced is None:
        return None
    from producers.traces import Traces

    return Traces(traced)


def _tell(session: Session, truths: Mapping[str, TopicTruth], seconds: float) -> None:
    title = session.title if session.seed is None else f"{session.title} (seed {session.seed})"
    show_truth(Console(), title, truths, seconds)
    if session.truth_file is not None:
        write_truth(session.truth_file, document(session.title, session.seed, truths) | dict(session.facts))


def _encoders(
    topic: Topic, settings: Settings, session: Session, health: Health, stopping: threading.Event
) -> Encoders:
    ids = schema_ids(settings)
    return wait_for(
        "schema registry",
        partial(encoders_of, topic, ids),
        timeout_s=session.timeout_s,
        health=health,
        stopping=stopping,
    )


def encoders_of(topic: Topic, ids: SchemaIds) -> Encoders:
    """Return the encoders of the records of ``topic``. Raises as :meth:`SchemaIds.id_of` does."""
    contracts = contracts_of(topic, load_contracts())
    return Encoders(contracts, {name: ids.id_of(contract, topic) for name, contract in contracts.items()})
