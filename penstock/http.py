"""The small HTTP server of each stage: ``/metrics``, ``/live``, ``/ready``; on 127.0.0.1 unless a setting says more.

It answers GET and HEAD, takes no input but the path, and says nothing of errors but that there was one.
"""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.errors import UsageError
from penstock.health import Health
from penstock.health_metrics import PartsAway
from penstock.settings import Settings

DEFAULT_PORTS = {"producers": 9101, "processors": 9102, "consumers": 9103, "referee": 9104}
"""Ports by stage; ``PENSTOCK_HTTP_PORT`` overrides, 0 takes a free one."""

MAX_HEAD_BYTES = 16_384
"""The longest request line with headers."""

MAX_CONNECTIONS = 100
"""More are answered with 503 at once."""

KEEP_ALIVE_S = 5
"""An idle connection is closed after so long."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""What every answer carries, unless it says otherwise itself."""


class SecureHeaders:
    """ASGI middleware, to stand outermost: adds ``headers`` to every answer, that to a failure included."""

    def __init__(self, app: ASGIApp, headers: Mapping[str, str] = HEADERS) -> None:
        self._app = app
        self._headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sent)


@contextmanager
def serve_http(stage: str, settings: Settings, health: Health, registry: CollectorRegistry) -> Iterator[str]:
    """Serve in a thread while the block runs; yield the address. Raises :class:`UsageError` when the port is taken."""
    registry.register(PartsAway(stage, health))
    port = DEFAULT_PORTS[stage] if settings.http_port is None else settings.http_port
    listener = _listen(settings.http_host, port)
    config = uvicorn.Config(
        SecureHeaders(_routes(health, registry)),
        log_level="warning",
        lifespan="off",
        access_log=False,
        server_header=False,
        http="h11",  # whose limits these are
        ws="none",
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="http", daemon=True)
    thread.start()
    try:
        yield f"http://{settings.http_host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=5)
        listener.close()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        why = (error.strerror or str(error)).partition(" (while ")[0]  # Python names the address again
        raise UsageError(
            f"PENSTOCK_HTTP_PORT: can't listen on {host}:{port} ({why}); choose another, or 0 for a free one"
        ) from None


def _routes(health: Health, registry: CollectorRegistry) -> Starlette:
    def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    def live(_request: Request) -> Response:
        return _verdict(health.live())

    def ready(_request: Request) -> Response:
        return _verdict(health.ready())

    return Starlette(routes=[Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)])


def _verdict(problems: dict[str, str]) -> Response:
    return JSONResponse({"ok": not problems, "problems": problems}, status_code=503 if problems else 200)
