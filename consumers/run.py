"""The consumers' stage: its parts, put together."""

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from consumers.figures import Figures
from consumers.materialization import Materialization, decoders_of, topics_of
from consumers.merging import InThread, Merging, OnFinish
from consumers.meters import STAGE, Meters
from consumers.reader import Reader
from consumers.room import room_figures, show_free_disk
from consumers.stores import open_store
from consumers.view_files import View, choose_views, load_views
from penstock.errors import ExitCode, GaveUpWaiting, PenstockError
from penstock.garbage import collect_rarely
from penstock.health import Health
from penstock.http import serve_http
from penstock.log import get_logger
from penstock.schema_ids import schema_ids
from penstock.settings import Settings
from penstock.topics import group_id
from penstock.tracing import tracing

if TYPE_CHECKING:
    from consumers.traces import Traces
    from penstock.tracing_spans import Tracing


def run(settings: Settings, names: Iterable[str], stopping: threading.Event, *, swap: bool = False) -> ExitCode:
    """Keep the views ``names`` (none: all) until ``stopping`` is set.

    Raises UsageError for a wrong name, address or port, ProtectiveStop when input is lost.
    """
    everything = load_views()
    views = choose_views(everything, names)
    group = group_of(settings, views, everything)
    ids = schema_ids(settings)
    health, registry = Health(), CollectorRegistry()
    meters = Meters(registry, views)
    with ExitStack() as stack:
        store = open_store(settings)
        stack.callback(store.close)
        live: dict[str, int] = {}
        figures = Figures(open_store(settings), views, settings.pipeline_version, room_figures(settings), live)
        stack.callback(figures.close)
        registry.register(figures)
        show_free_disk(settings, registry)
        address = stack.enter_context(serve_http(STAGE, settings, health, registry))
        get_logger(STAGE).info("materializing", views=[view.name for view in views], group=group, http=address)
        traces = _traces(stack.enter_context(tracing(STAGE, settings)), group, settings)
        reader = Reader(settings, topics_of(views), group, health, with_headers=traces is not None)
        stack.callback(reader.close)
        # A batch's trace holds its commit: then one thing is done after the other.
        merging: Merging = InThread() if traces is None else OnFinish()
        stack.callback(merging.close)  # before the database that it uses
        materialization = Materialization(
            settings, views, store, reader,
            decoders=decoders_of(settings, views, ids), meters=meters, health=health, stopping=stopping,
            traces=traces, live=live, merging=merging,
        )  # fmt: skip
        try:
            materialization.begin(swap=swap)
            collect_rarely()
            while not stopping.is_set():
                materialization.step()
            materialization.end()
        except GaveUpWaiting:
            get_logger(STAGE).info("stopped while waiting")
        except PenstockError as error:
            health.fail(str(error))
            raise
    return ExitCode.OK


def _traces(traced: "Tracing | None", group: str, settings: Settings) -> "Traces | None":
    if traced is None:
        return None
    from consumers.traces import Traces

    sqlite = settings.database_url.get_secret_value().startswith("sqlite")
    return Traces(traced, group, "sqlite" if sqlite else "postgresql")


def group_of(settings: Settings, views: tuple[View, ...], everything: Iterable[str]) -> str:
    """Return the consumer group.

    Processes that keep different views must not share partitions: a choice of views has a group of its own.
    """
    if {view.name for view in views} == set(everything):
        return group_id(settings, STAGE)
    return group_id(settings, "-".join((STAGE, *(view.name for view in views))))
