"""The connections of the server: small buffers, so that a client that does not read is noticed soon, and can be cut."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from penstock.errors import UsageError

SEND_BUFFER_BYTES = 32 * 1024
"""What the kernel keeps for a client that does not read; it would grow to megabytes by itself."""

WRITE_BUFFER_BYTES = 16 * 1024
_ABORT = "penstock.abort"


class CuttableProtocol(H11Protocol):
    """HTTP/1.1 whose requests know how to cut their connection: ASGI can only wait until all is read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(WRITE_BUFFER_BYTES)
        app = self.app

        async def cuttable(scope: Scope, receive: Receive, send: Send) -> None:
            scope.setdefault("extensions", {})[_ABORT] = {"abort": transport.abort}
            await app(scope, receive, send)

        self.app = cuttable


def abort_of(scope: Scope) -> Callable[[], None]:
    """Return what cuts the request's connection at once; nothing happens on a server that can't."""
    extension: dict[str, Any] = scope.get("extensions", {}).get(_ABORT, {})
    found: Callable[[], None] = extension.get("abort", lambda: None)
    return found


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises :class:`UsageError` when the address can't be had."""
    try:
        listener = socket.create_server((host, port), backlog=1_024)
    except (OSError, OverflowError) as error:
        why = (getattr(error, "strerror", None) or str(error)).partition(" (while ")[0]  # Python adds the address
        raise UsageError(
            f"PENSTOCK_SERVE_PORT: can't listen on {host}:{port} ({why}); choose another, or 0 for a free one"
        ) from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
    return listener
