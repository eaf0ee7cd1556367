"""What Prometheus is told of the parts that a stage needs."""

from prometheus_client import CollectorRegistry

from penstock.health import Health
from penstock.health_metrics import PartsAway


def test_a_part_is_shown_once_it_was_asked_for_and_under_one_name() -> None:
    health, registry = Health(), CollectorRegistry()
    registry.register(PartsAway("consumers", health))

    def away(part: str) -> float | None:
        return registry.get_sample_value("penstock_part_away", {"stage": "consumers", "part": part})

    health.started()
    assert [away(part) for part in ("kafka", "broker", "start", "database")] == [None] * 4
    health.here("database")
    health.away("broker", "no answer")
    assert [away(part) for part in ("kafka", "broker", "start", "database")] == [1, None, None, 0]
    health.here("broker")
    assert away("kafka") == 0
