"""A record that is kept whole may carry headers that the client library can't read."""

from typing import Any

from processors.stretch import Stretch


class FakeMessage:
    """As confluent-kafka's message is; ``headers`` None: one has a name that is no UTF-8."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def headers(self) -> Any:
        if self._headers is None:
            raise SystemError("<method 'headers' of 'Message' objects> returned a result with an exception set")
        return self._headers

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_000

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"value"


READABLE, UNREADABLE = FakeMessage([("trace", b"1")]), FakeMessage(None)


def test_a_record_with_an_unreadable_header_is_kept_without_headers() -> None:
    letter = Stretch.of([READABLE, UNREADABLE, READABLE]).letter(1)
    assert (letter.offset, letter.key, letter.value, letter.headers) == (7, b"key", b"value", [])


def test_its_neighbours_keep_theirs() -> None:
    stretch = Stretch.of([READABLE, UNREADABLE, READABLE])
    assert [stretch.letter(position).headers for position in (0, 2)] == [[("trace", b"1")]] * 2
