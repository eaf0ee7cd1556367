"""Fan-out of the stream: one encoding a frame, a bounded ring to go on from, a bounded queue a client.

A frame's id is ``POSITION-RUN-NUMBER``: where in the log its state is, which run of the server made it, and its number
there. Who reconnects with an id of this run whose successors are still in the ring gets exactly those; anybody
else gets a new ``snapshot``.
"""

import asyncio
import json
import re
import secrets
import time
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

RING = 240
"""Frames that a client may have missed, at 4 a second at most: a minute."""

QUEUE = 24
"""Frames that may wait for a client; one that is behind by more is dropped."""

MAX_CLIENTS = 2_000

_ID = re.compile(r"[0-9]{1,20}-([0-9a-f]{8})-([0-9]{1,15})")


class Frame(NamedTuple):
    """A frame and its number in this run."""

    number: int
    data: bytes


class Client:
    """One reader of the stream. ``abort`` cuts its connection, without waiting for what it has not read."""

    def __init__(self, abort: Callable[[], None]) -> None:
        self._abort = abort
        self._pending: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self.gone = False
        self.dropped = False

    def offer(self, frame: bytes) -> None:
        """Queue a frame, or drop the client."""
        if self.gone:
            return
        if len(self._pending) >= QUEUE:
            self.dropped = True
            self.leave()
            self._abort()
            return
        self._pending.append(frame)
        self._wake.set()

    def leave(self) -> None:
        """Let :meth:`next` end: nothing more comes."""
        self.gone = True
        self._pending.clear()
        self._wake.set()

    async def next(self) -> bytes | None:
        """Wait for frames; return all that wait, in one piece. None when nothing more comes."""
        while not self._pending:
            if self.gone:
                return None
            self._wake.clear()
            await self._wake.wait()
        data = b"".join(self._pending)
        self._pending.clear()
        return data


class Hub:
    """All clients of the stream. For one event loop."""

    def __init__(self, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._run = secrets.token_hex(4)
        self._ring: deque[Frame] = deque(maxlen=RING)
        self._number = 0
        self._position = 0
        self._state: dict[str, Any] = {}
        self._snapshot: bytes | None = None
        self.clients: set[Client] = set()
        self.dropped = 0
        self.frames = 0

    @property
    def ready(self) -> bool:
        """Whether there is a state to show."""
        return bool(self._state)

    def publish(self, state: dict[str, Any], patch: dict[str, Any], position: int) -> None:
        """Send everybody ``patch``, which makes ``state`` of the one before. ``state`` must not change any more."""
        backwards = position < self._position
        self._state, self._position, self._snapshot = state, position, None
        self._number += 1
        if backwards:  # the database was set back to an earlier state: nobody may go on from the later one
            self._run, self._number = secrets.token_hex(4), 1
            self._ring.clear()
            self._send(self._whole())
            return
        data = self._encode("delta", patch)
        self._ring.append(Frame(self._number, data))
        self._send(data)

    def alive(self) -> None:
        """Tell everybody that we are here, and what time it is: nothing changed. It has no id and is not kept."""
        self._send(b"event: alive\ndata: " + _json({"now": self._now_ms()}) + b"\n\n")

    def join(self, abort: Callable[[], None], last_event_id: str | None) -> Client:
        """Return a new client, whose first frames already wait for it."""
        client = Client(abort)
        missed = self._behind(last_event_id)
        for data in [self._whole()] if missed is None else [b"".join(missed)] if missed else []:
            client.offer(data)
        self.clients.add(client)
        return client

    def part(self, client: Client) -> None:
        """Forget a client."""
        client.leave()
        self.clients.discard(client)
        self.dropped += client.dropped

    def close(self) -> None:
        """End all streams."""
        for client in self.clients:
            client.leave()

    def _behind(self, last_event_id: str | None) -> list[bytes] | None:
        """Return the frames behind an id; None when we can't go on from there."""
        match = _ID.fullmatch(last_event_id or "")
        if match is None or match[1] != self._run:
            return None
        last = int(match[2])
        if last > self._number or self._number - last > len(self._ring):
            return None
        return [frame.data for frame in self._ring if frame.number > last]

    def _whole(self) -> bytes:
        if self._snapshot is None:
            self._snapshot = self._encode("snapshot", self._state)
        return self._snapshot

    def _encode(self, event: str, what: dict[str, Any]) -> bytes:
        frame_id = f"{self._position}-{self._run}-{self._number}"
        data = _json({"now": self._now_ms(), "state" if event == "snapshot" else "patch": what})
        return b"id: %b\nevent: %b\ndata: %b\n\n" % (frame_id.encode(), event.encode(), data)

    def _send(self, data: bytes) -> None:
        self.frames += len(self.clients)
        for client in tuple(self.clients):
            client.offer(data)


def _json(what: Any) -> bytes:
    return json.dumps(what, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
