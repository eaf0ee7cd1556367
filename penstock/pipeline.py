"""The pipeline's constants of time, and the fingerprint of all that decides a number.

A pipeline version may only be continued under the same fingerprint: a change of any of these is a new version,
built beside the old one from the log.
"""

import hashlib
import json
from dataclasses import asdict
from functools import cache

from penstock.metrics import METRICS, Metric

PANE_MS = 60_000
"""Length of a pane."""

ALLOWED_DISORDER_MS = 10_000
"""How far an event may trail the newest event time of its partition."""

MAX_AHEAD_MS = 300_000
"""How far an event may be ahead of its record's append time."""

NO_TIME = -(1 << 62)
"""``M`` of a partition that has seen no event yet."""


def watermark(newest_ms: int) -> int:
    """Return ``C`` of a partition whose newest event time is ``newest_ms``."""
    return newest_ms - ALLOWED_DISORDER_MS


def fingerprint() -> str:
    """Return 12 hexadecimal digits that change when any rule that decides a number changes."""
    return _fingerprint(METRICS)


@cache
def _fingerprint(metrics: tuple[Metric, ...]) -> str:
    rules = {
        "pane_ms": PANE_MS,
        "allowed_disorder_ms": ALLOWED_DISORDER_MS,
        "max_ahead_ms": MAX_AHEAD_MS,
        "metrics": [asdict(metric) for metric in metrics],
    }
    return hashlib.sha256(json.dumps(rules, sort_keys=True).encode()).hexdigest()[:12]
