"""The two databases: SQLite in a folder of the test, and the session's Postgres."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from consumers.stores import Store, open_store
from penstock.settings import Settings, load_settings

_NUMBERS = itertools.count()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.real)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/views.db"
    postgres = request.getfixturevalue("postgres")
    return str(postgres.create_database(f"consumers_{next(_NUMBERS)}"))


@pytest.fixture
def settings(database: str) -> Settings:
    return load_settings(database_url=database, embedded=True)


@pytest.fixture
def connect(settings: Settings) -> Iterator[Callable[[], Store]]:
    """Makes connections to the one database, each as another process would have it."""
    stores: list[Store] = []

    def connect() -> Store:
        stores.append(open_store(settings))
        return stores[-1]

    yield connect
    for store in stores:
        store.close()
