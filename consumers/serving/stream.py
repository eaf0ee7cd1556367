"""``/api/stream``: the hub's frames to one client, as Server-Sent Events."""

import asyncio
from http import HTTPStatus

from starlette.types import Receive, Scope, Send

from consumers.serving.hub import MAX_CLIENTS, Client, Hub
from consumers.serving.poller import Poller
from consumers.serving.problems import busy
from consumers.serving.wire import abort_of

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # a proxy must not gather frames
]
RETRY_MS = 1_000


class Stream:
    """The endpoint, as an ASGI application."""

    def __init__(self, hub: Hub, poller: Poller) -> None:
        self._hub, self._poller = hub, poller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send frames until the client leaves, or is dropped."""
        if len(self._hub.clients) >= MAX_CLIENTS:
            raise busy(f"there are {MAX_CLIENTS:,} readers of the stream already")
        last = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), None)
        await send({"type": "http.response.start", "status": HTTPStatus.OK, "headers": _HEADERS})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        client = self._hub.join(abort_of(scope), last)
        self._poller.wake()
        left = asyncio.create_task(_until_left(receive, client))
        try:
            data: bytes | None = b"retry: %d\n\n" % RETRY_MS
            while data is not None:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                data = await client.next()
        finally:
            left.cancel()
            self._hub.part(client)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_left(receive: Receive, client: Client) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    client.leave()
