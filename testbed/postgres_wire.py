"""What a Postgres client says, message by message: enough of the protocol to see a COMMIT go by. Pure.

Source: PostgreSQL's documentation, "Frontend/Backend Protocol", message formats of version 3.
"""

from __future__ import annotations

from collections.abc import Iterator

_LENGTH_BYTES = 4
_PROTOCOL_3 = 3
_QUERY, _PARSE = b"Q", b"P"


class ClientMessages:
    """Cuts the bytes that a client sends, in whatever pieces they come, into whole messages.

    The messages before the session (start-up, and the questions for TLS before it) have no type byte.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._in_session = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take what came next; yield each message that is whole now. Their sum is all that was fed."""
        self._pending += data
        while message := self._next():
            yield message

    def _next(self) -> bytes:
        """Return the next whole message; empty if it is not all there."""
        type_bytes = 1 if self._in_session else 0
        head = type_bytes + _LENGTH_BYTES
        if len(self._pending) < head:
            return b""
        size = type_bytes + int.from_bytes(self._pending[type_bytes:head], "big")
        if len(self._pending) < max(size, head):
            return b""
        message, self._pending = self._pending[:size], self._pending[size:]
        if not self._in_session:
            self._in_session = int.from_bytes(message[4:6], "big") == _PROTOCOL_3
        return message


def is_commit(message: bytes) -> bool:
    """Whether a whole message of a session asks for COMMIT: as a simple query, or as one to parse."""
    kind, body = message[:1], message[1 + _LENGTH_BYTES :]
    if kind == _PARSE:  # the statement's name comes first
        body = body.partition(b"\0")[2]
    elif kind != _QUERY:
        return False
    return body.partition(b"\0")[0].strip().rstrip(b";").upper() == b"COMMIT"
