"""Waiting for a part that is away: for ever in a stage, for ``--timeout`` in a one-shot command."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import stamina

from penstock.errors import GaveUpWaiting, Refused, Unavailable
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
    Raises :class:`GaveUpWaiting` after ``timeout_s`` (None: never), or when ``stopping`` is set. With a ``timeout_s``
    a :class:`Refused` is raised at once: waiting would not help.
    """
    began, reported = time.monotonic(), -REPORT_EVERY_S
    for trial in stamina.retry_context(
        on=lambda error: _worth_another_try(error, for_ever=timeout_s is None),
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
                    _say(part, error, waited)
                    reported = waited
                if health is not None:
                    health.away(part, str(error))
                if isinstance(error, Refused) and timeout_s is not None:
                    raise
                gave_up = timeout_s is not None and waited + trial.next_wait >= timeout_s
                if gave_up or (stopping is not None and stopping.is_set()):
                    raise GaveUpWaiting(f"gave up after {waited:.0f} s: {error}") from None
                raise
            if health is not None:
                health.here(part)
            return result
    raise AssertionError("unreachable")  # pragma: no cover


def _say(part: str, error: Unavailable, waited_s: float) -> None:
    log = get_logger("waiting")
    say = log.error if isinstance(error, Refused) else log.warning
    say(f"waiting for {part}", waited_s=round(waited_s), why=str(error))


def _worth_another_try(error: Exception, *, for_ever: bool) -> bool:
    """To give up is an Unavailable too, and the end of it."""
    final = GaveUpWaiting if for_ever else (GaveUpWaiting, Refused)
    return isinstance(error, Unavailable) and not isinstance(error, final)
