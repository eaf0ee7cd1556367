"""The database's size and what room it has left."""

import math
from collections.abc import Callable
from pathlib import Path

from prometheus_client import CollectorRegistry

from consumers.figures import Figures
from consumers.room import room_figures, show_free_disk
from consumers.stores import Store
from consumers.tables import prepare
from penstock.settings import Settings, load_settings
from tests.consumers.builders import views


def test_the_size_of_the_database_is_shown(connect: Callable[[], Store], settings: Settings) -> None:
    prepare(connect(), views().values(), 1)
    registry = CollectorRegistry()
    registry.register(Figures(connect(), (), 1, room_figures(settings)))
    (size,) = [metric.samples for metric in registry.collect() if metric.name == "penstock_database_size_bytes"]
    assert [sample.value > 50_000 for sample in size] == [True]


def test_what_is_left_up_to_the_capacity_is_shown(connect: Callable[[], Store], settings: Settings) -> None:
    limited = settings.model_copy(update={"database_capacity_bytes": 10**12})
    registry = CollectorRegistry()
    registry.register(Figures(connect(), (), 1, room_figures(limited)))
    show_free_disk(limited, registry)
    kind = "sqlite" if settings.database_url.get_secret_value().startswith("sqlite") else "postgresql"
    free = registry.get_sample_value("penstock_database_free_bytes", {"database": kind})
    assert free is not None
    assert 0 < free < 10**12 or kind == "sqlite"


def test_a_folder_that_is_gone_does_not_end_the_scrape(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    show_free_disk(load_settings(database_url=f"sqlite:///{tmp_path}/gone/views.db"), registry)
    free = registry.get_sample_value("penstock_database_free_bytes", {"database": "sqlite"})
    assert free is not None
    assert math.isnan(free)
