"""The same promises against the real Apicurio."""

import copy
import uuid

import pytest

from penstock.contract_lock import extended
from penstock.contracts import Contract, load_contracts
from penstock.errors import PenstockError, ProtectiveStop, Unavailable
from penstock.registration import register_contracts, registry_breaks
from penstock.registry import Registry, RegistryIds
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME
from testbed.processes import free_port
from testbed.registry import SchemaRegistry

CONTRACTS = load_contracts()
LOCKED = extended(CONTRACTS, {})
ORDERS, TELEMETRY = BY_NAME["orders"], BY_NAME["telemetry"]
PLACED = CONTRACTS["OrderPlaced"]


@pytest.fixture(scope="module")
def settings(registry: SchemaRegistry) -> Settings:
    return load_settings(schema_registry_url=registry.url, embedded=False)


@pytest.fixture(scope="module")
def client(settings: Settings) -> Registry:
    found = Registry(settings)
    register_contracts(found, CONTRACTS)
    return found


def changed(**field: object) -> Contract:
    """Return OrderPlaced with a field that no other test has."""
    schema = copy.deepcopy(PLACED.schema)
    schema["fields"].append({"name": f"f{uuid.uuid4().hex}", "doc": "d", **field})
    return Contract("OrderPlaced", "orders", schema)


def test_contracts_registered_twice_are_unchanged_the_second_time(client: Registry) -> None:
    again = register_contracts(client, CONTRACTS)
    assert {line.outcome for line in again} == {"unchanged"}
    assert registry_breaks(client, CONTRACTS) == []


def test_every_contract_is_found_by_schema_and_back_by_id(client: Registry) -> None:
    ids = RegistryIds(client, LOCKED, CONTRACTS)
    for topic in BY_NAME.values():
        for contract in CONTRACTS.values():
            if contract.folder in topic.folders:
                assert ids.writer(ids.id_of(contract, topic), topic) == contract


def test_an_unknown_id_is_nobodys(client: Registry) -> None:
    ids = RegistryIds(client, LOCKED, CONTRACTS)
    assert [ids.writer(schema_id, ORDERS) for schema_id in (987_654, 2**31 - 1, 2**31)] == [None] * 3


def test_an_id_of_another_topic_is_nobodys(client: Registry) -> None:
    ids = RegistryIds(client, LOCKED, CONTRACTS)
    assert ids.writer(ids.id_of(PLACED, ORDERS), TELEMETRY) is None


def test_a_contract_that_is_not_registered_is_not_found(client: Registry) -> None:
    with pytest.raises(PenstockError, match="schemas register"):
        RegistryIds(client, LOCKED, CONTRACTS).id_of(changed(type="string", default=""), ORDERS)


def test_the_registry_itself_refuses_what_we_refuse(client: Registry) -> None:
    incompatible = changed(type="string")
    with pytest.raises(PenstockError, match="has no default"):
        register_contracts(client, {"OrderPlaced": incompatible})
    with pytest.raises(PenstockError, match=r"says: .*[Ii]ncompatible"):
        client.register(incompatible.subject("orders"), incompatible.schema)


def test_a_wrong_base_address_is_named(registry: SchemaRegistry) -> None:
    for wrong in (registry.url.removesuffix("/apis/ccompat/v7"), f"{registry.url}0"):
        with pytest.raises(PenstockError, match="SCHEMA_REGISTRY_URL"):
            Registry(load_settings(schema_registry_url=wrong)).schema(1)


def test_a_registry_that_is_down_is_away() -> None:
    down = Registry(load_settings(schema_registry_url=f"http://127.0.0.1:{free_port()}/apis/ccompat/v7"))
    ids = RegistryIds(down, LOCKED, CONTRACTS)
    with pytest.raises(Unavailable):
        ids.writer(1, ORDERS)
    with pytest.raises(Unavailable):
        ids.id_of(PLACED, ORDERS)


def test_a_newer_version_stops_this_build_and_an_older_one_is_read(settings: Settings, client: Registry) -> None:
    """Last in this module: the subject has a newer version from here on."""
    newer = changed(type=["null", "string"], default=None)
    current = {**CONTRACTS, "OrderPlaced": newer}
    lines = {line.subject: line for line in register_contracts(client, current)}
    line = lines[newer.subject("orders")]
    assert line.outcome == "registered"
    with pytest.raises(ProtectiveStop, match="newer"):
        RegistryIds(client, LOCKED, CONTRACTS).writer(line.schema_id, ORDERS)
    ids = RegistryIds(Registry(settings), extended(current, LOCKED), current)
    assert ids.writer(line.schema_id, ORDERS) == newer
    assert ids.writer(RegistryIds(client, LOCKED, CONTRACTS).id_of(PLACED, ORDERS), ORDERS) == PLACED
