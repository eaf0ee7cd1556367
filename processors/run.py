"""Running the processors as a process of their own."""

import asyncio
from collections.abc import Sequence

import faust
from prometheus_client import CollectorRegistry

from penstock.errors import ExitCode
from penstock.health import Health
from penstock.http import serve_http
from penstock.log import get_logger
from penstock.metrics import METRICS, Metric
from penstock.settings import Settings
from processors.app import make_app, tune_garbage_collector


def run(settings: Settings, metrics: Sequence[Metric] = METRICS) -> int:
    """Run until SIGTERM or SIGINT, then commit what is settled and return 0. ``metrics`` are what is folded."""
    health, registry = Health(), CollectorRegistry()
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    with serve_http("processors", settings, health, registry) as address:
        get_logger("processors").info("starting", http=address)
        app = make_app(settings, health, registry, metrics)
        worker = faust.Worker(
            app, loop=loop, quiet=True, redirect_stdouts=False, override_logging=False, debug=False
        )
        worker.spinner = None
        tune_garbage_collector()
        try:
            worker.execute_from_commandline()
        except SystemExit as end:
            return ExitCode.OK if not end.code else ExitCode.FAILED
    return ExitCode.OK
