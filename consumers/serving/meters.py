"""The operational metrics of the server."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from consumers.serving.hub import Hub
from penstock import telemetry

STAGE = "serve"


class Meters:
    """Counters of requests; routes and their common answers exist from the start."""

    def __init__(self, registry: CollectorRegistry, routes: Iterable[str], hub: Hub) -> None:
        self._requests = telemetry.counter(telemetry.HTTP_REQUESTS, registry)
        self._seconds = telemetry.histogram(telemetry.HTTP_SECONDS, registry)
        for route in routes:
            self._requests.labels(route, "200")
            self._seconds.labels(route)
        registry.register(_StreamCollector(hub))
        telemetry.build_info(STAGE, registry)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count an answer; 0 stands for a client that left before it. A stream's time is no time of ours."""
        self._requests.labels(route, str(status)).inc()
        if not route.endswith("/stream"):
            self._seconds.labels(route).observe(seconds)


class _StreamCollector(Collector):
    """Reads what the hub counts, when Prometheus asks."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterable[Metric]:
        clients, dropped, frames = telemetry.STREAM_CLIENTS, telemetry.STREAM_DROPPED, telemetry.STREAM_FRAMES
        yield GaugeMetricFamily(clients.name, clients.help, value=len(self._hub.clients))
        yield CounterMetricFamily(dropped.name, dropped.help, value=self._hub.dropped)
        yield CounterMetricFamily(frames.name, frames.help, value=self._hub.frames)
