"""Scenarios are declared once; two short ones are played on real parts."""

from pathlib import Path
from random import Random

import pytest

from chaos.ground import Shared
from chaos.result import Result
from chaos.rig import ZOMBIE_S, Rig
from chaos.scenario import Scenario, all_scenarios
from chaos.scenarios.processes import under_load
from testbed.kafka import KafkaBroker
from testbed.postgres import Postgres
from testbed.registry import SchemaRegistry


def test_each_scenario_says_what_it_does_to_whom() -> None:
    known = all_scenarios()
    assert {"kill-processors", "zombie-views", "mixed"} <= known.keys()
    assert all(isinstance(each, Scenario) and each.fault and each.play.__doc__ for each in known.values())


@pytest.fixture
def shared(kafka: KafkaBroker, registry: SchemaRegistry, postgres: Postgres) -> Shared:
    return Shared(kafka, registry, postgres)


@pytest.mark.slow
def test_a_killed_processor_a_killed_producer_and_a_zombie_of_a_view_lose_nothing_and_double_nothing(
    shared: Shared, tmp_path: Path
) -> None:
    result, rng = Result("short", "processes", "a kill, a zombie", "1", "postgres"), Random(1)
    url = shared.postgres.create_database(f"chaos-{tmp_path.name}")
    rig = Rig(shared, tmp_path, result, rng, database_url=url)
    try:
        under_load(rig, processors=1)
        frozen = rig.names("materialize")[0]
        rig.pause(frozen)
        rig.kill("load-1")
        rig.die_at("process-1", ("processors.after-flush", 2))
        rig.wait(ZOMBIE_S)
        rig.resume(frozen)
        rig.recovered()
        rig.finish()
    finally:
        rig.close()
    assert (result.outcome, result.lost, result.doubled) == ("proved", 0, 0)
    assert (result.kills, result.zombies) == (2, 1)
    assert result.events > 1_000
    assert result.figures["acknowledgements read back"] > 1_000
