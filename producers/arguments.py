"""The small languages of the command line: durations (``250ms``, ``5s``, ``2m``) and shares (``1%``, ``0.01``)."""

import re

from penstock.errors import UsageError
from producers.faults import MAX_DISORDER_MS

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(%?)")


def duration_ms(option: str, text: str) -> int:
    """Return a duration in milliseconds. Raises :class:`UsageError` naming ``option``."""
    found = _DURATION.fullmatch(text.strip())
    if found is None and text.strip() != "0":
        raise UsageError(f"{option}: {text!r} is no duration; write it as 250ms, 5s, 2m, 1h or 1d")
    return round(float(found[1]) * _UNITS_MS[found[2]]) if found else 0


def disorder_ms(option: str, text: str) -> int:
    """Return how far events may be out of order: so little that none of them, nor a copy, can be late."""
    value = duration_ms(option, text)
    if value > MAX_DISORDER_MS:
        raise UsageError(
            f"{option}: {text!r} is too much; at most {MAX_DISORDER_MS // 1000}s, or events would be late by chance"
        )
    return value


def share(option: str, text: str) -> float:
    """Return a share of 0 to 1. Raises :class:`UsageError` naming ``option``."""
    found = _SHARE.fullmatch(text.strip())
    value = float(found[1]) / (100 if found[2] else 1) if found else -1.0
    if not 0 <= value <= 1:
        raise UsageError(f"{option}: {text!r} is no share; write it as 1% or 0.01, 0 to 100%")
    return value
