"""Real parts for all tests: one of each per session, started at first use; missing, the test is skipped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

from testbed.availability import REQUIRE, required_parts
from testbed.java import QUICK_START
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.part import Part
from testbed.postgres import Postgres
from testbed.processes import PartUnavailableError
from testbed.prometheus import Prometheus
from testbed.registry import SchemaRegistry

P = TypeVar("P", bound=Part)

# A machine that is busy is no failure.
settings.register_profile("penstock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("penstock")

REAL_FIXTURES = {"kafka", "bootstrap_servers", "registry", "postgres", "start_part", "start_prometheus"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test that takes a real part as `real`, so that `-m "not real"` leaves none."""
    for item in items:
        if REAL_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.real)


@pytest.fixture(scope="session")
def start_part() -> Callable[[Part], None]:
    """Starts a part of the test's own (to kill it, say), which the test closes.

    If it can't be had: skips the test, or fails it if PENSTOCK_REQUIRE names the part.
    """
    return _start


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaBroker | ExternalKafka]:
    """A real Kafka for the session, or the one that KAFKA_BOOTSTRAP_SERVERS names; don't kill it.

    It is shared: name topics and groups so that no other test, and no earlier run, has them.
    """
    external = ExternalKafka.from_environment()
    if external is not None:
        yield external
        return
    with _running(lambda: KafkaBroker(jvm_options=QUICK_START)) as broker:
        yield broker


@pytest.fixture(scope="session")
def bootstrap_servers(kafka: KafkaBroker | ExternalKafka) -> str:
    """What a client of the session's Kafka connects to."""
    return kafka.bootstrap_servers


@pytest.fixture(scope="session")
def registry() -> Iterator[SchemaRegistry]:
    """A real schema registry for the session; shared, so use subjects of your own."""
    with _running(SchemaRegistry) as part:
        yield part


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A real Postgres for the session; shared, so ask it for a database of your own (`create_database`)."""
    with _running(Postgres) as part:
        yield part


@pytest.fixture
def start_prometheus() -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus of the test's own, made as :class:`Prometheus` is; it is closed after the test."""
    started: list[Prometheus] = []

    def start(config: str, files: Mapping[str, str] | None = None) -> Prometheus:
        part = Prometheus(config, files)
        _start(part)
        started.append(part)
        return part

    yield start
    for part in started:
        part.close()


@contextmanager
def _running(make: Callable[[], P]) -> Iterator[P]:
    part = make()
    _start(part)
    with part:
        yield part


def _start(part: Part) -> None:
    had_elsewhere = part.name == "kafka" and ExternalKafka.from_environment() is not None
    try:
        part.start()
    except PartUnavailableError as unavailable:
        part.close()
        if part.name in required_parts() and not had_elsewhere:
            pytest.fail(
                f"{part.name} is required by {REQUIRE}, and can't be had. {unavailable}", pytrace=False
            )
        pytest.skip(f"no real {part.name}. {unavailable}")
