"""The rules of compatibility, one line each."""

from typing import Any

import pytest

from penstock.compatibility import Violation, transitive_breaks, violations
from penstock.contracts import Contract, load_contracts

ENUM = {"type": "enum", "name": "Kind", "symbols": ["UNKNOWN", "A", "B"], "default": "UNKNOWN"}
UUID = {"type": "string", "logicalType": "uuid"}
TIME = {"type": "long", "logicalType": "timestamp-millis"}


def record(*fields: dict[str, Any], name: str = "R") -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "io.x", "fields": list(fields)}


def one(avro_type: Any, **more: Any) -> dict[str, Any]:
    return record({"name": "f", "type": avro_type, **more})


def decimal(precision: int, scale: int = 2) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale}


def fixed(size: int, name: str = "F") -> dict[str, Any]:
    return {"type": "fixed", "name": name, "size": size}


def array(*fields: dict[str, Any], name: str = "Item") -> dict[str, Any]:
    return {"type": "array", "items": record(*fields, name=name)}


def enum(**changes: Any) -> dict[str, Any]:
    return {**ENUM, **changes}


X = {"name": "x", "type": "int"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (one("int"), one("int")),
        (one("int"), one("long")),
        (one("int"), one("float")),
        (one("int"), one("double")),
        (one("long"), one("float")),
        (one("long"), one("double")),
        (one("float"), one("double")),
        (one("string"), one("bytes")),
        (one("bytes"), one("string")),
        (one("int"), one(["null", "int"])),
        (one("int"), one(["null", "long"])),
        (one(["null", "int"]), one(["null", "double"])),
        (one(["null", "string"]), one(["string", "null"])),
        (one(["null"]), one(["null", "string"])),
        (one(["int"]), one("long")),
        (one("int"), record({"name": "f", "type": "int"}, {"name": "g", "type": "int", "default": 1})),
        (one("int"), record({"name": "f", "type": "int"}, {"name": "g", "type": ["null", "int"], "default": None})),
        (one("int"), record({"name": "g", "type": "int", "default": 1})),
        (record({"name": "a", "type": "int"}, {"name": "b", "type": "string"}),
         record({"name": "b", "type": "string"}, {"name": "a", "type": "int"})),
        (one(ENUM), one(enum(symbols=["UNKNOWN", "B", "C", "A"]))),
        (one(ENUM), one(enum(symbols=["UNKNOWN", "A"]))),
        (one(["null", ENUM]), one(["null", enum(symbols=["UNKNOWN"])])),
        (one(ENUM), one(enum(namespace="io.elsewhere"))),
        (one(decimal(9)), one(decimal(12))),
        (one(fixed(4)), one(fixed(4))),
        (one(UUID), one("string")),
        (one(TIME), one(TIME, doc="other")),
        (one(array(X)), one(array({"name": "x", "type": "long"}))),
        (one(array(X)), one(array(X, {"name": "y", "type": "int", "default": 0}))),
        (one(array(X, {"name": "y", "type": "int"})), one(array(X))),
        (one(record(X, name="In")), one(record({"name": "x", "type": "double"}, name="In"))),
        (one({"type": "map", "values": "int"}), one({"type": "map", "values": "long"})),
        (one("int", minimum=0, maximum=10), one("int", minimum=-1, maximum=11)),
        (one("int", minimum=0, maximum=10), one("int")),
        (one("double", minimum=0, maximum=10), one("double", minimum=0, maximum=10.5)),
    ],
)  # fmt: skip
def test_a_change_that_still_reads_all_older_records_breaks_no_rule(old: Any, new: Any) -> None:
    assert violations(new, old) == []


@pytest.mark.parametrize(
    ("old", "new", "rule", "path"),
    [
        (one("long"), one("int"), "type-changed", "R.f"),
        (one("double"), one("float"), "type-changed", "R.f"),
        (one("double"), one("long"), "type-changed", "R.f"),
        (one("string"), one("int"), "type-changed", "R.f"),
        (one("int"), one("string"), "type-changed", "R.f"),
        (one("boolean"), one("int"), "type-changed", "R.f"),
        (one(fixed(4)), one("bytes"), "type-changed", "R.f"),
        (one(UUID), one("bytes"), "type-changed", "R.f"),
        (one("string"), one(ENUM), "type-changed", "R.f"),
        (one(["null", "int"]), one("int"), "null-removed", "R.f"),
        (one(["null", "int", "string"]), one(["null", "int"]), "missing-union-branch", "R.f"),
        (one("string"), one(["null", "int"]), "missing-union-branch", "R.f"),
        (one(["null", "long"]), one(["null", "int"]), "missing-union-branch", "R.f"),
        (one("int"), record({"name": "f", "type": "int"}, {"name": "g", "type": "int"}), "no-default", "R.g"),
        (one("int"), record({"name": "renamed", "type": "int", "aliases": ["f"]}), "no-default", "R.renamed"),
        (one(ENUM), one({**ENUM, "symbols": ["UNKNOWN", "A"], "default": None}), "enum-symbol-removed", "R.f"),
        (one(ENUM), one(enum(name="Other")), "name-changed", "R.f"),
        (one(fixed(4)), one(fixed(5)), "fixed-size", "R.f"),
        (one(fixed(4)), one(fixed(4, "G")), "name-changed", "R.f"),
        (one(decimal(9, 2)), one(decimal(9, 4)), "decimal-scale", "R.f"),
        (one(decimal(9)), one(decimal(8)), "decimal-precision", "R.f"),
        (one(["null", decimal(9)]), one(["null", decimal(8)]), "decimal-precision", "R.f"),
        (one("bytes"), one(decimal(9)), "meaning-changed", "R.f"),
        (one(decimal(9)), one("bytes"), "meaning-changed", "R.f"),
        (one("string"), one(UUID), "meaning-changed", "R.f"),
        (one("long"), one(TIME), "meaning-changed", "R.f"),
        (one(TIME), one("long"), "meaning-changed", "R.f"),
        (one("int"), one(TIME), "meaning-changed", "R.f"),
        (one(array(X)), one(array({"name": "x", "type": "string"})), "type-changed", "R.f[].x"),
        (one(array(X)), one(array(X, {"name": "y", "type": "int"})), "no-default", "R.f[].y"),
        (one(array(X)), one(array(X, name="Other")), "name-changed", "R.f[]"),
        (one(array(X)), one(X["type"]), "type-changed", "R.f"),
        (one(record(X, name="In")), one(record({"name": "x", "type": "string"}, name="In")), "type-changed", "R.f.x"),
        (one({"type": "map", "values": "long"}), one({"type": "map", "values": "int"}), "type-changed", "R.f{}"),
        (one("int", minimum=0, maximum=10), one("int", minimum=1, maximum=10), "bounds-narrowed", "R.f"),
        (one("int", minimum=0, maximum=10), one("int", minimum=0, maximum=9), "bounds-narrowed", "R.f"),
        (one("double"), one("double", minimum=0, maximum=9), "bounds-changed-column", "R.f"),
        (record(X), record(X, name="S"), "name-changed", "S"),
    ],
)
def test_a_change_that_older_records_would_not_survive_is_named_by_rule_and_field(
    old: Any, new: Any, rule: str, path: str
) -> None:
    found = violations(new, old)
    assert [(violation.rule, violation.path) for violation in found] == [(rule, path)]
    assert found[0].detail


def test_every_break_is_named_and_not_only_the_first() -> None:
    old = record({"name": "a", "type": "long"}, {"name": "b", "type": decimal(9, 2)})
    new = record({"name": "a", "type": "int"}, {"name": "b", "type": decimal(8, 4)}, {"name": "c", "type": "int"})
    found = [(violation.path, violation.rule) for violation in violations(new, old)]
    assert found == [
        ("R.a", "type-changed"), ("R.b", "decimal-scale"), ("R.b", "decimal-precision"), ("R.c", "no-default"),
    ]  # fmt: skip


def test_a_contract_is_compared_with_all_of_its_versions_and_not_with_the_last_alone() -> None:
    """int -> dropped -> string: each step alone is fine."""
    locked = {1: Contract("R", "orders", record(X)), 2: Contract("R", "orders", record())}
    now = {"R": Contract("R", "orders", record({"name": "x", "type": "string", "default": ""}))}
    (found,) = transitive_breaks(now, locked)
    assert (found.version, found.violation.rule, found.violation.path) == ("lock id 1", "type-changed", "R.x")


def test_a_record_that_was_locked_may_neither_go_nor_move() -> None:
    locked = {1: Contract("R", "orders", record(X)), 2: Contract("S", "orders", record(X, name="S"))}
    moved = {"R": Contract("R", "telemetry", record(X))}
    found = {item.record: item.violation.rule for item in transitive_breaks(moved, locked)}
    assert found == {"R": "record-moved", "S": "record-removed"}


def test_every_contract_reads_itself() -> None:
    for contract in load_contracts().values():
        assert violations(contract.schema, contract.schema) == []


def test_a_violation_says_what_was_and_what_is() -> None:
    (found,) = violations(one(TIME), one("string"))
    detail = "was string, is long (timestamp-millis): string does not widen to that"
    assert found == Violation("type-changed", "R.f", detail)
