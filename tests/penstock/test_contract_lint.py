"""The contracts of this repository keep the rules; each rule has an example that breaks it."""

import copy
from typing import Any

import pytest

from penstock.contract_lint import lint
from penstock.contracts import Contract, load_contracts

UNKNOWN_ENUM = {"type": "enum", "name": "Kind", "doc": "d", "symbols": ["UNKNOWN", "A"], "default": "UNKNOWN"}


def item(*fields: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "record", "name": "Item", "doc": "d", "fields": list(fields), **changes}}


def field(avro_type: Any, name: str = "extra", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": avro_type, "doc": "d", **more}


def rules(folder: str = "orders", *fields: dict[str, Any], **changes: Any) -> list[str]:
    """Return the rules that an event with these extra fields breaks."""
    base = copy.deepcopy(load_contracts()["Heartbeat"].schema)
    schema = {**base, "name": "TestEvent", "fields": [*base["fields"], *fields], **changes}
    return [violation.rule for violation in lint(Contract("TestEvent", folder, schema))]


@pytest.mark.parametrize("contract", load_contracts().values(), ids=lambda contract: contract.name)
def test_the_contracts_of_this_repository_keep_every_rule(contract: Contract) -> None:
    assert lint(contract) == []


@pytest.mark.parametrize(
    "good",
    [
        field("string"),
        field(["null", "string"], default=None),
        field(UNKNOWN_ENUM),
        field(["null", UNKNOWN_ENUM], default=None),
        field("double", minimum=-40, maximum=60.5),
        field("int", minimum=0, maximum=9),
        field({"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 4}),
        field({"type": "fixed", "name": "Digest", "size": 16}),
        field(item(field("string", "sku"))),
        field(item(field("string", "sku"), field(["null", "int"], "size", default=None)), default=[]),
    ],
)
def test_a_field_within_the_rules_passes(good: dict[str, Any]) -> None:
    assert rules("orders", good) == []


@pytest.mark.parametrize(
    ("bad", "rule"),
    [
        (field("string", "camelCase"), "snake-case"),
        (field("string", "_hidden"), "snake-case"),
        (field("string", "source"), "field-twice"),
        ({"name": "extra", "type": "string"}, "doc"),
        (field("string", aliases=["old"]), "aliases"),
        (field({**UNKNOWN_ENUM, "symbols": ["A", "UNKNOWN"]}), "enum-unknown"),
        (field({key: value for key, value in UNKNOWN_ENUM.items() if key != "default"}), "enum-unknown"),
        (field({key: value for key, value in UNKNOWN_ENUM.items() if key != "doc"}), "doc"),
        (field({**UNKNOWN_ENUM, "name": "not_pascal"}), "pascal-case"),
        (field({**UNKNOWN_ENUM, "symbols": ["UNKNOWN", *(f"S{n}" for n in range(300))]}), "enum-size"),
        (field({"type": "map", "values": "string"}), "map"),
        (field(["null", {"type": "map", "values": "string"}]), "map"),
        (field({"type": "array", "items": "string"}), "array-items"),
        (field({"type": "array", "items": "null"}), "array-items"),
        (field(item(field({"type": "fixed", "name": "None", "size": 0}, "nothing"))), "empty-items"),
        (field(item(field("string", "badName"))), "snake-case"),
        (field(item(field("double", "price"))), "unbounded-double"),
        (field(item(field("string", "sku"), field(item(field("int", "x"), name="Part"), "parts"))), "nested-array"),
        (field({"type": "record", "name": "Inner", "doc": "d", "fields": [field("int", "x")]}), "nested-record"),
        (field("TestEvent"), "type-reference"),
        (field(["null", "TestEvent"]), "type-reference"),
        (field("null"), "union"),
        (field(["string", "null"]), "union"),
        (field(["null", "int", "string"]), "union"),
        (field(["null"]), "union"),
        (field(["int", "string"]), "union"),
        (field(["null", "int"], default=3), "default"),
        (field("double"), "unbounded-double"),
        (field(["null", "float"]), "unbounded-double"),
        (field("double", minimum=0), "bounds"),
        (field("double", minimum=2, maximum=1), "bounds"),
        (field("double", minimum=0, maximum=1e10), "bounds"),
        (field({"type": "bytes", "logicalType": "decimal", "precision": 19, "scale": 4}), "decimal"),
        (field({"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 5}), "not-avro"),
        (field({"type": "bytes", "logicalType": "decimal", "precision": 4}), "decimal"),
        (field({"type": "int", "logicalType": "date"}), "logical-type"),
        (field({"type": "int", "logicalType": "timestamp-millis"}), "logical-type"),
    ],
)
def test_a_field_outside_of_a_rule_is_named_by_that_rule(bad: dict[str, Any], rule: str) -> None:
    assert rule in rules("orders", bad)


@pytest.mark.parametrize("missing", ["event_id", "occurred_at", "source"])
def test_an_event_without_one_of_its_common_fields_is_refused(missing: str) -> None:
    common = load_contracts()["Heartbeat"].schema["fields"]
    fewer = [part for part in common if part["name"] != missing]
    assert rules("orders", fields=fewer) == ["event-fields"]
    assert rules("telemetry", fields=fewer) == ["event-fields"]
    assert rules("results", fields=fewer) == []


def test_an_event_id_that_is_no_uuid_is_refused() -> None:
    common = copy.deepcopy(load_contracts()["Heartbeat"].schema["fields"])
    common[0]["type"] = "string"
    assert rules("orders", fields=common) == ["event-fields"]


def test_results_may_hold_numbers_without_bounds() -> None:
    assert rules("results", field("double")) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"name": "test_event"}, "pascal-case"),
        ({"namespace": "Penstock"}, "namespace"),
        ({"doc": ""}, "doc"),
        ({"aliases": ["Old"]}, "aliases"),
        ({"type": "enum"}, "not-a-record"),
        ({"fields": []}, "no-fields"),
        ({"fields": [{"name": "x"}]}, "not-avro"),
        ({"fields": [{"name": "x", "type": "strin", "doc": "d"}]}, "not-avro"),
        ({"fields": 7}, "not-avro"),
    ],
)
def test_a_record_outside_of_a_rule_is_named_by_that_rule(changes: dict[str, Any], rule: str) -> None:
    assert rule in rules("results", **changes)
