"""Cursors of pages: the key of the last row that was given, so that a page is stable whatever comes meanwhile."""

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any

MAX_CURSOR = 6_000


def encode(key: Sequence[str | int]) -> str:
    """Return the cursor behind the row with this ``key``."""
    return base64.urlsafe_b64encode(json.dumps(list(key), separators=(",", ":")).encode()).decode().rstrip("=")


def decode(cursor: str, kinds: Sequence[type]) -> tuple[Any, ...]:
    """Return the key of ``cursor``, of values of ``kinds``. ValueError when it is not one that we gave."""
    wrong = "is not a cursor of this list; take it from `next`"
    if len(cursor) > MAX_CURSOR or not cursor.isascii():
        raise ValueError(wrong)
    try:
        padded = cursor.encode() + b"=" * (-len(cursor) % 4)
        key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True).decode())
    except (binascii.Error, ValueError, RecursionError):
        raise ValueError(wrong) from None
    if not isinstance(key, list) or [type(value) for value in key] != list(kinds):
        raise ValueError(wrong)
    if any("\0" in value if isinstance(value, str) else abs(value) >= 1 << 62 for value in key):
        raise ValueError(wrong)
    return tuple(key)
