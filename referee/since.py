"""``--since``: a moment, or how long ago. Pure."""

import re
from datetime import UTC, datetime

from penstock.errors import UsageError

_UNITS_MS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def since_ms(words: str, now_ms: int) -> int:
    """Return the moment, in milliseconds since 1970, that ``2h``, ``30m``, ``7d``, ``90s`` or an ISO 8601 time means.

    A time without an offset is UTC, a date alone its midnight. Raises UsageError.
    """
    found = re.fullmatch(r"(\d{1,9})\s*([smhd])", words.strip())
    if found:
        return max(0, now_ms - int(found[1]) * _UNITS_MS[found[2]])
    try:
        moment = datetime.fromisoformat(words.strip())
    except ValueError:
        raise UsageError(f"--since: {words!r} is neither like 2h, 30m or 7d, nor like 2026-01-31T12:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0, round(moment.timestamp() * 1_000))
