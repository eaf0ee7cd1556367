"""The server: its parts, put together."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, Router

from consumers.serving.api import api_routes
from consumers.serving.database import Database
from consumers.serving.guard import Guard
from consumers.serving.hub import Hub
from consumers.serving.meters import STAGE, Meters
from consumers.serving.page import page_routes
from consumers.serving.poller import Poller
from consumers.serving.stream import Stream
from consumers.serving.wire import CuttableProtocol, listen
from penstock.errors import ExitCode
from penstock.health import Health
from penstock.log import get_logger
from penstock.settings import Settings

MAX_CONNECTIONS = 4_000
STOP_LIMIT_S = 5


def run(settings: Settings, stopping: threading.Event) -> ExitCode:
    """Serve until ``stopping`` is set. Raises UsageError when the port is taken."""
    with serving(settings) as server:
        get_logger(STAGE).info("serving", http=server.address)
        while not stopping.wait(0.5):
            if not server.running:
                return ExitCode.FAILED
    return ExitCode.OK


class Server:
    """A running server."""

    def __init__(self, address: str, thread: threading.Thread) -> None:
        self.address, self._thread = address, thread

    @property
    def running(self) -> bool:
        """Whether it still serves; if not, its log says why."""
        return self._thread.is_alive()


@contextmanager
def serving(settings: Settings) -> Iterator[Server]:
    """Serve in a thread while the block runs. Raises :class:`penstock.errors.UsageError` when the port is taken."""
    listener = listen(settings.serve_host, settings.serve_port)
    hub = Hub()
    config = uvicorn.Config(
        application(settings, hub), http=CuttableProtocol, log_level="warning", access_log=False, server_header=False,
        lifespan="on", limit_concurrency=MAX_CONNECTIONS, timeout_graceful_shutdown=STOP_LIMIT_S,
        timeout_keep_alive=20, h11_max_incomplete_event_size=32_768,
    )  # fmt: skip
    server = _Server(config, hub)
    thread = threading.Thread(target=server.run, args=([listener],), name="serve", daemon=True)
    thread.start()
    try:
        yield Server(f"http://{settings.serve_host}:{listener.getsockname()[1]}", thread)
    finally:
        server.should_exit = True
        thread.join(timeout=STOP_LIMIT_S * 2)
        listener.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, hub: Hub) -> None:
        super().__init__(config)
        self._hub = hub

    async def shutdown(self, sockets: object = None) -> None:
        self._hub.close()  # streams never end by themselves
        await super().shutdown(sockets)  # type: ignore[arg-type]


def application(settings: Settings, hub: Hub) -> Guard:
    """Return the application; it begins to read when its lifespan does."""
    health, registry = Health(), CollectorRegistry()
    database, watched = Database(settings), Database(settings, connections=1)
    poller = Poller(watched, hub, health)

    @asynccontextmanager
    async def lifespan(_app: object) -> AsyncIterator[None]:
        polling = asyncio.create_task(poller.run())
        polling.add_done_callback(lambda task: _explain(task, health, hub))
        try:
            yield
        finally:
            polling.cancel()
            with suppress(asyncio.CancelledError, Exception):  # what it died of is told above
                await polling
            await database.close()
            await watched.close()

    routes: list[BaseRoute] = [
        *page_routes(),
        *api_routes(database),
        Route("/api/stream", Stream(hub, poller), methods=["GET"]),
        *_stage_routes(health, registry),
    ]
    meters = Meters(registry, [route.path for route in routes if isinstance(route, Route)], hub)
    return Guard(Router(routes, redirect_slashes=False, lifespan=lifespan), meters)


def _explain(polling: "asyncio.Task[None]", health: Health, hub: Hub) -> None:
    """Say it when the poller ended by itself: that is a bug, and a page that stands still would hide it."""
    error = None if polling.cancelled() else polling.exception()
    if error is not None:
        get_logger(STAGE).error("the poller failed", exc_info=error)
        health.fail("the poller failed; the log says why")
        hub.close()


def _stage_routes(health: Health, registry: CollectorRegistry) -> list[BaseRoute]:
    def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def live(_request: Request) -> Response:
        return _verdict(health.live())

    async def ready(_request: Request) -> Response:
        return _verdict(health.ready())

    return [Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)]


def _verdict(problems: dict[str, str]) -> Response:
    return JSONResponse({"ok": not problems, "problems": problems}, status_code=503 if problems else 200)
