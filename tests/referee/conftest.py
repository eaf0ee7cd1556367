"""A pipeline's outcome for the tests of a module, and copies of its database to damage."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.settings import Settings
from tests.referee import stage


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A pipeline's outcome in which everything is right. Don't change its database."""
    path = tmp_path_factory.mktemp("referee") / "views.db"
    with stage.embedded_broker() as bootstrap:
        settings = stage.settings_of(bootstrap, f"sqlite:///{path}")
        parts = stage.partitions()
        stage.produce(settings, parts)
        for part in parts:
            stage.commit(settings, part, stage.frontier_of(settings, part))
        stage.fill_views(settings, parts)
        yield settings


@pytest.fixture
def copied(world: Settings, tmp_path: Path) -> tuple[Settings, Path]:
    """The same with a database of the test's own."""
    path = tmp_path / "views.db"
    with sqlite3.connect(_path(world)) as source, sqlite3.connect(path) as target:
        source.backup(target)
    return world.model_copy(update={"database_url": type(world.database_url)(f"sqlite:///{path}")}), path


def _path(settings: Settings) -> str:
    return settings.database_url.get_secret_value().removeprefix("sqlite:///")
