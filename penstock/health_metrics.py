"""What a stage's health says, for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock import telemetry
from penstock.health import Health

_ONE_NAME = {"broker": "kafka", "schema registry": "registry"}
"""Stages call some parts by other words in what they tell people."""


class PartsAway(Collector):
    """Collects ``penstock_part_away`` from ``health``: the parts that were asked for so far."""

    def __init__(self, stage: str, health: Health) -> None:
        self._stage = stage
        self._health = health

    def describe(self) -> Iterator[Metric]:
        """Name the metric."""
        yield self._family()

    def collect(self) -> Iterator[Metric]:
        """Return who is away now."""
        away: dict[str, bool] = {}
        for part, is_away in self._health.parts().items():
            name = _ONE_NAME.get(part, part)
            away[name] = away.get(name, False) or is_away
        family = self._family()
        for name, is_away in away.items():
            family.add_metric([self._stage, name], float(is_away))
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        declared = telemetry.PART_AWAY
        return GaugeMetricFamily(declared.name, declared.help, labels=declared.labels)
