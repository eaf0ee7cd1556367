"""Verification again and again, beside the pipeline: the newest verdict as metrics."""

import threading
import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from penstock import telemetry
from penstock.errors import ExitCode, Unavailable
from penstock.health import Health
from penstock.http import serve_http
from penstock.log import get_logger
from penstock.settings import Settings
from penstock.stopping import stop_on_signals
from referee.report import Verdict

STAGE = "referee"
PART = "verification"


class VerdictGauges:
    """The newest verdict. Before the first one there is nothing to see: no verdict is not a bad one."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made = False

    def show(self, verdict: Verdict) -> None:
        """Show ``verdict``, which came now."""
        if not self._made:
            self._make()
        self._proved.set(verdict.proved)
        self._at.set(time.time())
        self._events.set(verdict.events)
        self._seconds.set(verdict.seconds)
        self._differences.clear()
        for view, count in {**dict.fromkeys(verdict.rows, 0), **verdict.differences.counts}.items():
            self._differences.labels(view).set(count)

    def _make(self) -> None:
        self._proved = telemetry.gauge(telemetry.VERIFY_PROVED, self._registry)
        self._differences = telemetry.gauge(telemetry.VERIFY_DIFFERENCES, self._registry)
        self._events = telemetry.gauge(telemetry.VERIFY_EVENTS, self._registry)
        self._seconds = telemetry.gauge(telemetry.VERIFY_SECONDS, self._registry)
        self._at = telemetry.gauge(telemetry.VERIFY_AT, self._registry)
        self._made = True


def watch(settings: Settings, verify: Callable[[threading.Event], Verdict], every_s: float) -> ExitCode:
    """Call ``verify`` every ``every_s`` until SIGTERM or SIGINT, and serve what it found as metrics.

    The event that it is given tells it to end early. A part that is away is waited for; the newest verdict stays, and
    grows old. Raises what else ``verify`` raises.
    """
    health, registry = Health(), CollectorRegistry()
    telemetry.build_info(STAGE, registry)
    gauges = VerdictGauges(registry)
    with stop_on_signals() as stopping, serve_http(STAGE, settings, health, registry) as address:
        get_logger(STAGE).info("verifying", every_s=every_s, http=address)
        health.started()
        while not stopping.is_set():
            began = time.monotonic()
            look(partial(verify, stopping), gauges, health)
            stopping.wait(max(every_s - (time.monotonic() - began), 0))
    return ExitCode.OK


def look(verify: Callable[[], Verdict], gauges: VerdictGauges, health: Health) -> None:
    """Verify once, and show what was found."""
    try:
        verdict = verify()
    except Unavailable as error:
        health.away(PART, str(error))
        get_logger(STAGE).warning("no verdict", why=str(error))
        return
    health.here(PART)
    gauges.show(verdict)
    found = {"events": verdict.events, "seconds": round(verdict.seconds, 1)}
    if verdict.proved:
        get_logger(STAGE).info("proved", **found)
        return
    first = [str(difference) for difference in verdict.differences.rows[:3]]
    unproved = {"differences": dict(verdict.differences.counts), "unproved_share": verdict.unproved_share}
    get_logger(STAGE).error("not proved", first=first, **unproved, **found)
