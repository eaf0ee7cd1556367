"""What a late event or a dead letter keeps of its record: all of it up to limits, so that none is too large to be kept.

A record may be larger than any letter could be (a broker limits compressed bytes). Its value and its key are kept up to
``max_record_bytes`` each, so a record that is small enough to be used is kept whole; headers as far as they go.
"""

from collections.abc import Iterable

MAX_HEADER_NAME_BYTES = 1_000
_ENVELOPE_BYTES = 10_000

Headers = list[tuple[str, bytes | None]]


def kept(data: bytes | None, max_record_bytes: int) -> bytes | None:
    """Return what a letter keeps of a key or a value."""
    return data if data is None or len(data) <= max_record_bytes else data[:max_record_bytes]


def kept_headers(headers: Iterable[tuple[str, bytes | None]], max_record_bytes: int) -> Headers:
    """Return the headers that a letter keeps: the first, up to half of ``max_record_bytes``; odd names left out."""
    found: Headers = []
    room = max_record_bytes // 2
    for name, value in headers:
        size = len(name.encode())
        if size > MAX_HEADER_NAME_BYTES or "\0" in name:
            continue
        room -= size + len(value or b"") + 16
        if room < 0:
            break
        found.append((name, value))
    return found


def max_letter_bytes(max_record_bytes: int) -> int:
    """Return how large a letter may be at most. With the default limit it fits into what Kafka takes by default."""
    return 2 * max_record_bytes + max_record_bytes // 2 + _ENVELOPE_BYTES
