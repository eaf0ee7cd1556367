"""A TCP proxy on 127.0.0.1 whose faults are switched while it runs: what a client sees of a part that misbehaves.

::

    with Proxy(registry.port) as proxy:
        proxy.switch("error")  # each HTTP request is answered with 500
        proxy.switch("pass")
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self

from testbed.postgres_wire import ClientMessages, is_commit
from testbed.processes import LOOPBACK, free_port

Mode = Literal["pass", "refuse", "hang", "error"]

CHUNK_BYTES = 1 << 16
CONNECT_TIMEOUT_S = 5.0
HTTP_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Link:
    """One connection of a client, and ours to the target behind it."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.server: socket.socket | None = None
        self.over = False
        self.drops_the_answer = False
        """What the server says next is for nobody: the link is cut when it comes."""

    def connect(self, target: int) -> socket.socket:
        """Connect to the target. Raises OSError."""
        self.server = socket.create_connection((LOOPBACK, target), CONNECT_TIMEOUT_S)
        self.server.settimeout(None)
        return self.server

    def cut(self) -> None:
        """End both sides, whatever is under way."""
        self.over = True
        for side in (self.client, self.server):
            if side is not None:
                with suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)  # wakes who reads it, which a mere close does not
                side.close()


class Proxy:
    """Forwards connections to port ``target`` of 127.0.0.1; made in mode *pass*, listening at once.

    * *pass*: bytes go through, each piece of an answer ``delay_s`` seconds later;
    * *refuse*: nobody listens, and connections that were there are cut;
    * *hang*: connections are accepted and stay, no byte goes through; back in *pass* what was held goes on;
    * *error*: for HTTP: connections that were there are cut, each new request is answered with status 500.

    A client whose target is down sees its connection closed. ``accepted`` counts connections.
    """

    def __init__(self, target: int, mode: Mode = "pass") -> None:
        self.port = free_port()
        self.delay_s = 0.0
        self.accepted = 0
        self._target = target
        self._mode: Mode = "refuse"
        self._changed = threading.Condition()
        self._listener: socket.socket | None = None
        self._links: set[Link] = set()
        self.switch(mode)

    @property
    def mode(self) -> Mode:
        """The mode in force."""
        return self._mode

    def switch(self, mode: Mode) -> None:
        """Behave like this from now on; returns once it does."""
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
        if mode == "refuse":
            self._close_listener()
        elif self._listener is None:
            self._listen()
        if mode in ("refuse", "error"):
            self.cut()

    def cut(self) -> int:
        """Cut all connections that are there now, in whatever they are doing; return how many."""
        with self._changed:
            links, self._links = self._links, set()
            for link in links:
                link.cut()
            self._changed.notify_all()
        return len(links)

    def close(self) -> None:
        """Cut all and listen no more."""
        self.switch("refuse")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _listen(self) -> None:
        self._listener = socket.create_server((LOOPBACK, self.port))
        threading.Thread(target=self._accept, args=(self._listener,), name="proxy", daemon=True).start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # closed: we refuse
            while True:
                link = Link(listener.accept()[0])
                with self._changed:
                    self.accepted += 1
                    self._links.add(link)
                threading.Thread(target=self._serve, args=(link,), name="proxy", daemon=True).start()

    def _serve(self, link: Link) -> None:
        """Serve one connection to its end."""
        try:
            if not self._wait_while_hanging(link):
                return
            if self._mode == "error":
                _answer_500(link.client)
                return
            server = link.connect(self._target)
            threading.Thread(target=self._bring_back, args=(link, server), name="proxy", daemon=True).start()
            self._bring_there(link, server)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)
        except OSError:
            link.cut()  # one of the two went away: so does the other
        finally:
            with self._changed:
                if link.over or link.server is None:
                    self._links.discard(link)
            if link.server is None:
                link.cut()

    def _wait_while_hanging(self, link: Link) -> bool:
        """Return once bytes may go through; False if the link was cut meanwhile."""
        with self._changed:
            self._changed.wait_for(lambda: link.over or self._mode != "hang")
            return not link.over

    def _bring_there(self, link: Link, server: socket.socket) -> None:
        """Bring what the client says to the server until it has said all. Raises OSError."""
        while (data := link.client.recv(CHUNK_BYTES)) and self._wait_while_hanging(link):
            server.sendall(data)

    def _bring_back(self, link: Link, server: socket.socket) -> None:
        """Bring the server's answers to the client, and end the link with the last one."""
        with suppress(OSError):
            while (data := server.recv(CHUNK_BYTES)) and self._wait_while_hanging(link):
                if link.drops_the_answer:
                    break
                if self.delay_s:
                    time.sleep(self.delay_s)
                link.client.sendall(data)
        link.cut()
        with self._changed:
            self._links.discard(link)


class PostgresProxy(Proxy):
    """A proxy before Postgres that can lose the reply to a COMMIT.

    ``commits_cut`` counts those, ``commits_to_cut`` those that are still to come.
    """

    def __init__(self, target: int, mode: Mode = "pass") -> None:
        self.commits_cut = 0
        self.commits_to_cut = 0
        super().__init__(target, mode)

    def cut_at_commit(self, times: int = 1) -> None:
        """Let the next ``times`` COMMITs through and cut each connection when the server has answered, unheard.

        So the server has committed, and the client can't know.
        """
        with self._changed:
            self.commits_to_cut = times

    def _bring_there(self, link: Link, server: socket.socket) -> None:
        messages = ClientMessages()
        while (data := link.client.recv(CHUNK_BYTES)) and self._wait_while_hanging(link):
            for message in messages.feed(data):
                if is_commit(message) and self._takes_one():
                    link.drops_the_answer = True
                server.sendall(message)

    def _takes_one(self) -> bool:
        with self._changed:
            if not self.commits_to_cut:
                return False
            self.commits_to_cut -= 1
            self.commits_cut += 1
            return True


def _answer_500(client: socket.socket) -> None:
    """Read one HTTP request, at least its head, and answer it. Raises OSError."""
    request = b""
    while b"\r\n\r\n" not in request:
        data = client.recv(CHUNK_BYTES)
        if not data:
            return
        request += data
    client.sendall(HTTP_500)
    client.shutdown(socket.SHUT_WR)
    while client.recv(CHUNK_BYTES):  # a close before the whole request is read would reset the answer
        pass
