"""Running the processors as a process of their own."""

import asyncio
import os
import threading
from collections.abc import Sequence

import faust
from prometheus_client import CollectorRegistry

from penstock.errors import ExitCode, GaveUpWaiting
from penstock.garbage import collect_rarely
from penstock.health import Health
from penstock.http import serve_http
from penstock.log import get_logger
from penstock.metrics import METRICS, Metric
from penstock.settings import Settings
from penstock.stopping import stop_on_signals
from penstock.tracing import tracing
from processors.app import make_app

STOP_GRACE_S = 8.0
"""How long the end may wait for a broker that is away: less than a container's grace."""


class _Worker(faust.Worker):
    """Ends by itself even if the broker never acknowledges what was sent: a restart goes on from the last commit."""

    stopping: threading.Event
    """Set by a signal that came before Faust looked after them."""

    async def on_first_start(self) -> None:
        """Let Faust look after signals, and tell it of one that has come."""
        await super().on_first_start()
        if self.stopping.is_set():
            self._on_sigterm()

    async def stop(self) -> None:
        """Commit what is settled and stop; after :data:`STOP_GRACE_S` end with exit code 3, without a commit."""
        timer = threading.Timer(STOP_GRACE_S, _give_up)
        timer.daemon = True
        timer.start()
        try:
            await super().stop()
        finally:
            timer.cancel()


def _give_up() -> None:
    get_logger("processors").error(
        f"gave up: the broker is away, and did not acknowledge in {STOP_GRACE_S:.0f} s what was sent; nothing is lost: "
        "a restart goes on from the last commit"
    )
    os._exit(ExitCode.GAVE_UP)


def run(settings: Settings, metrics: Sequence[Metric] = METRICS) -> int:
    """Run until SIGTERM or SIGINT, then commit what is settled and return 0.

    Ends with 3 if the broker is away then. ``metrics`` are what is folded."""
    health, registry = Health(), CollectorRegistry()
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    with (
        stop_on_signals() as stopping,
        tracing("processors", settings) as traced,
        serve_http("processors", settings, health, registry) as address,
    ):
        get_logger("processors").info("starting", http=address)
        try:
            app = make_app(settings, health, registry, metrics, traced, stopping)
        except GaveUpWaiting:
            get_logger("processors").info("stopped before it began")
            return ExitCode.OK
        worker = _Worker(
            app, loop=loop, quiet=True, redirect_stdouts=False, override_logging=False, debug=False
        )
        worker.spinner, worker.stopping = None, stopping
        collect_rarely()
        try:
            worker.execute_from_commandline()
        except SystemExit as end:
            return ExitCode.OK if not end.code else ExitCode.FAILED
    return ExitCode.OK
