"""Waiting for a part that is away: for ever in a stage, for ``--timeout`` in a one-shot command."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import stamina

from penstock.errors import GaveUpWaiting, Unavailable
from penstock.health import Health
from penstock.log import get_logger

T = TypeVar("T")

REPORT_EVERY_S = 30.0
_MAX_PAUSE_S = 2.0


def wait_for(
    part: str,
    attempt: Callable[[], T],
    *,
    timeout_s: float | None = None,
    health: Health | None = None,
    stopping: threading.Event | None = None,
) -> T:
    """Return what ``attempt()`` returns, tried again for as long as it raises :class:`Unavailable`.

    Pauses grow to 2 s, with jitter. A line is logged at once and then every 30 s; meanwhile ``part`` is away in
    ``health``.
    Raises :class:`GaveUpWaiting` after ``timeout_s`` (None: never), or when ``stopping`` is set.
    """
    began, reported = time.monotonic(), -REPORT_EVERY_S
    for trial in stamina.retry_context(
        on=_worth_another_try,
        attempts=None,
        timeout=timeout_s,
        wait_initial=0.1,
        wait_max=_MAX_PAUSE_S,
        wait_jitter=0.2,
    ):
        with trial:
            try:
                result = attempt()
            except Unavailable as error:
                waited = time.monotonic() - began
                if waited - reported >= REPORT_EVERY_S:
                    get_logger("waiting").warning(f"waiting for {part}", waited_s=round(waited), why=str(error))
                    reported = waited
                if health is not None:
                    health.away(part, str(error))
                gave_up = timeout_s is not None and waited + trial.next_wait >= timeout_s
                if gave_up or (stopping is not None and stopping.is_set()):
                    raise GaveUpWaiting(f"gave up after {waited:.0f} s: {error}") from None
                raise
            if health is not None:
                health.here(part)
            return result
    raise AssertionError("unreachable")  # pragma: no cover


def _worth_another_try(error: Exception) -> bool:
    """To give up is an Unavailable too, and the end of it."""
    return isinstance(error, Unavailable) and not isinstance(error, GaveUpWaiting)
