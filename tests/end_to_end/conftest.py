"""The real parts of the end-to-end tests: one of each for the session, the contracts registered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import pytest

from penstock.avro import Encoder
from penstock.contracts import contracts_of, load_contracts
from penstock.schema_ids import schema_ids
from penstock.settings import load_settings
from penstock.topics import BY_NAME
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.pipeline import Parts, Pipeline
from testbed.postgres import Postgres
from testbed.registry import SchemaRegistry

DatabaseKind = Literal["sqlite", "postgres"]


@pytest.fixture(scope="session")
def parts(
    kafka: KafkaBroker | ExternalKafka, registry: SchemaRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Parts:
    """Kafka and a registry that has all contracts; shared, so every Pipeline has a prefix of its own."""
    found = Parts(kafka.bootstrap_servers, registry.url)
    with Pipeline(found, tmp_path_factory.mktemp("contracts")) as pipeline:
        pipeline.run("schemas", "register")
    return found


@pytest.fixture
def new_database(request: pytest.FixtureRequest) -> Callable[[DatabaseKind, str], str]:
    """Makes an empty database and returns its URL; for SQLite nothing: each Pipeline has a file of its own."""

    def make(kind: DatabaseKind, name: str) -> str:
        if kind == "sqlite":
            return ""
        postgres: Postgres = request.getfixturevalue("postgres")
        return postgres.create_database(name)

    return make


class Encoders(NamedTuple):
    """Encode events by record name, with the registry's ids; ``header`` is the wire format's front for an id."""

    orders: dict[str, Encoder]
    telemetry: dict[str, Encoder]


@pytest.fixture(scope="session")
def encoders(parts: Parts) -> Encoders:
    ids = schema_ids(load_settings(schema_registry_url=parts.registry_url, embedded=False))

    def of(topic: str) -> dict[str, Encoder]:
        contracts = contracts_of(BY_NAME[topic], load_contracts())
        return {name: Encoder(contract, ids.id_of(contract, BY_NAME[topic])) for name, contract in contracts.items()}

    return Encoders(of("orders"), of("telemetry"))
