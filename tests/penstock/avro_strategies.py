"""Hypothesis strategies: random records of any contract, in the encoder's form."""

from typing import Any

from hypothesis import strategies as st

from penstock.avro_checks import END_OF_TIME_MS
from penstock.contracts import Schema

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)
LONG_TEXT = st.integers(1, 1000).map(lambda count: "x" * count)
INT64 = st.integers(-(2**63), 2**63 - 1)


def records(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Return records of ``schema`` that are within Penstock's limits."""
    return st.fixed_dictionaries({_name(field): _field(field) for field in schema["fields"]})


def _name(field: Schema) -> str:
    plain = field["type"][1] if isinstance(field["type"], list) else field["type"]
    is_decimal = isinstance(plain, dict) and plain.get("logicalType") == "decimal"
    return f"{field['name']}_e{plain['scale']}" if is_decimal else str(field["name"])


def _field(field: Schema) -> st.SearchStrategy[Any]:
    if "minimum" not in field:
        return _type(field["type"])
    low, high = field["minimum"], field["maximum"]
    return st.integers(low, high) if field["type"] in ("int", "long") else st.floats(low, high)


def _type(avro_type: Any) -> st.SearchStrategy[Any]:
    if isinstance(avro_type, list):
        return st.none() | _type(avro_type[1])
    return _PRIMITIVES[avro_type] if isinstance(avro_type, str) else _complex(avro_type)


def _complex(avro_type: Schema) -> st.SearchStrategy[Any]:
    if avro_type["type"] == "array":
        return st.lists(records(avro_type["items"]), max_size=4)
    if avro_type["type"] == "enum":
        return st.sampled_from(avro_type["symbols"])
    if avro_type["logicalType"] == "decimal":
        most = 10 ** avro_type["precision"] - 1
        return st.integers(-most, most)
    return st.uuids().map(str) if avro_type["logicalType"] == "uuid" else st.integers(0, END_OF_TIME_MS - 1)


_PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXT | LONG_TEXT,
    "bytes": st.binary(max_size=40),
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": INT64,
    "boolean": st.booleans(),
}
