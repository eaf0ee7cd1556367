"""A record that is kept whole may carry headers that the client library can't read."""

from typing import Any

from processors.worker import _letter


class Unreadable:
    """As confluent-kafka's message is whose header has a name that is no UTF-8."""

    def headers(self) -> Any:
        raise SystemError("<method 'headers' of 'Message' objects> returned a result with an exception set")

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_000

    def key(self) -> bytes:
        return b"key"

    def value(self) -> bytes:
        return b"value"


def test_a_record_with_an_unreadable_header_is_kept_without_headers() -> None:
    letter = _letter(Unreadable())
    assert (letter.offset, letter.key, letter.value, letter.headers) == (7, b"key", b"value", [])
