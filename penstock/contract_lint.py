"""What a contract must look like, beyond being Avro: names, docs, and what keeps hostile bytes harmless.

Recursion, maps and arrays of empty items let a few bytes cost much time or memory; and what the columnar codec
can't read is refused here, not at run time.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro

from penstock.compatibility import Violation
from penstock.contracts import Contract, Schema
from penstock.topics import SOURCES

EVENT_FIELDS: Mapping[str, Any] = {
    "event_id": {"type": "string", "logicalType": "uuid"},
    "occurred_at": {"type": "long", "logicalType": "timestamp-millis"},
    "source": "string",
}
"""What every event carries."""

MAX_DECIMAL_PRECISION = 18
"""Digits that an Int64 can always hold."""

MAX_BOUND = 2**53 / 1_000_000
"""Largest bound of a double: a double's 53 bits still hold 1/1,000,000 of it."""

MAX_SYMBOLS = 250
"""What fits an index of one byte."""

_PRIMITIVES = ("boolean", "int", "long", "float", "double", "bytes", "string")
_LOGICAL_TYPES = {
    "uuid": ("string",),
    "timestamp-millis": ("long",),
    "decimal": ("bytes", "fixed"),
}
UNUSABLE = {"not-a-record", "not-avro"}
"""Rules after which nothing more can be said of a contract."""

_PASCAL = re.compile(r"([A-Z][a-z0-9]*)+")
_SNAKE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_NAMESPACE = re.compile(r"[a-z][a-z0-9]*(\.[a-z][a-z0-9_]*)+")
_EVENT_FOLDERS = {folder for topic in SOURCES for folder in topic.folders}


def lint(contract: Contract) -> list[Violation]:
    """Return what is wrong with one contract. In the folders of source topics the rules of events apply as well."""
    unusable = _unusable(contract)
    return [unusable] if unusable else list(_lint(contract))


def _unusable(contract: Contract) -> Violation | None:
    kind = contract.schema.get("type")
    if kind != "record":
        return Violation("not-a-record", contract.name, f"is {kind}: a contract is one record")
    try:
        fastavro.parse_schema(copy.deepcopy(contract.schema))
    except Exception as error:  # it raises what its Python happens to raise on a schema like this
        return Violation("not-avro", contract.name, f"is no Avro schema: {type(error).__name__}: {error}")
    return None


def _lint(contract: Contract) -> Iterator[Violation]:
    schema = contract.schema
    if not _NAMESPACE.fullmatch(str(schema.get("namespace"))):
        yield Violation("namespace", contract.name, "must be a reverse domain name in lower case")
    is_event = contract.folder in _EVENT_FOLDERS
    if is_event:
        yield from _event_fields(schema)
    yield from _record(schema, contract.name, is_event)


def _event_fields(schema: Schema) -> Iterator[Violation]:
    types = {field["name"]: field["type"] for field in schema["fields"]}
    for name, expected in EVENT_FIELDS.items():
        if types.get(name) != expected:
            yield Violation("event-fields", f"{schema['name']}.{name}", f"must be {expected} in an event")


def _record(schema: Schema, path: str, is_event: bool) -> Iterator[Violation]:
    yield from _named(schema, path)
    if not schema["fields"]:
        yield Violation("no-fields", path, "a record without fields takes no byte")
    names = [field["name"] for field in schema["fields"]]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Violation("field-twice", f"{path}.{name}", "is there twice")
    for field in schema["fields"]:
        yield from _field(field, f"{path}.{field['name']}", is_event)


def _named(avro_type: Schema, path: str) -> Iterator[Violation]:
    if not _PASCAL.fullmatch(str(avro_type.get("name"))):
        yield Violation("pascal-case", path, f"{avro_type.get('name')!r} must be written LikeThis")
    if "aliases" in avro_type:
        yield Violation("aliases", path, "are not read: keep the name")
    if not avro_type.get("doc"):
        yield Violation("doc", path, f"{avro_type['type']} {avro_type.get('name')} has no doc")


def _field(field: Schema, path: str, is_event: bool) -> Iterator[Violation]:
    if not _SNAKE.fullmatch(field["name"]):
        yield Violation("snake-case", path, "must be written like_this")
    if not field.get("doc"):
        yield Violation("doc", path, "has no doc")
    if "aliases" in field:
        yield Violation("aliases", path, "are not read: keep the name")
    yield from _type(field["type"], path, is_event)
    yield from _bounds(field, path, is_event)
    yield from _default(field, path)


def _type(avro_type: Any, path: str, is_event: bool) -> Iterator[Violation]:
    if isinstance(avro_type, list):
        yield from _union(avro_type, path, is_event)
        return
    kind = avro_type["type"] if isinstance(avro_type, dict) else avro_type
    if kind == "map":
        yield Violation("map", path, "its keys are text without a limit: use an array of records")
    elif kind == "array":
        yield from _array(avro_type["items"], path, is_event)
    elif kind == "record":
        yield Violation("nested-record", path, "a record may only be an array's item: write its fields here")
    elif kind == "enum":
        yield from _enum(avro_type, path)
    elif kind == "null":
        yield Violation("union", path, "null is allowed in a union [null, X] only")
    elif kind != "fixed" and (not isinstance(kind, str) or kind not in _PRIMITIVES):
        yield Violation("type-reference", path, f"{kind!r}: write each type out where it is used")
    else:
        yield from _logical(avro_type, kind, path)


def _union(branches: list[Any], path: str, is_event: bool) -> Iterator[Violation]:
    if len(branches) != 2 or branches[0] != "null" or branches[1] == "null" or isinstance(branches[1], list):
        yield Violation("union", path, f"a union must be [null, X], null first: {branches}")
        return
    yield from _type(branches[1], path, is_event)


def _array(items: Any, path: str, is_event: bool) -> Iterator[Violation]:
    if not isinstance(items, dict) or items.get("type") != "record":
        yield Violation("array-items", path, "the items of an array must be a record")
        return
    yield from _record(items, f"{path}[]", is_event)
    if all(_may_be_empty(field["type"]) for field in items["fields"]):
        yield Violation("empty-items", f"{path}[]", "may take no byte: a hostile count would eat memory")
    for field in items["fields"]:
        plain = [branch for branch in _branches(field["type"]) if isinstance(branch, dict)]
        if any(branch.get("type") == "array" for branch in plain):
            yield Violation("nested-array", f"{path}[].{field['name']}", "an item may not hold an array")


def _may_be_empty(avro_type: Any) -> bool:
    if isinstance(avro_type, dict) and avro_type["type"] == "record":
        return all(_may_be_empty(field["type"]) for field in avro_type["fields"])
    is_empty_fixed = isinstance(avro_type, dict) and avro_type["type"] == "fixed" and avro_type["size"] == 0
    return avro_type == "null" or is_empty_fixed


def _enum(avro_type: Schema, path: str) -> Iterator[Violation]:
    yield from _named(avro_type, path)
    if avro_type["symbols"][:1] != ["UNKNOWN"] or avro_type.get("default") != "UNKNOWN":
        yield Violation("enum-unknown", path, "its first symbol and its default must be UNKNOWN")
    if len(avro_type["symbols"]) > MAX_SYMBOLS:
        yield Violation("enum-size", path, f"has more than {MAX_SYMBOLS} symbols")


def _logical(avro_type: Any, kind: str, path: str) -> Iterator[Violation]:
    logical = avro_type.get("logicalType") if isinstance(avro_type, dict) else None
    if logical is not None and kind not in _LOGICAL_TYPES.get(logical, ()):
        yield Violation("logical-type", path, f"{logical} on {kind} is none of {', '.join(_LOGICAL_TYPES)}")
    if logical == "decimal":
        scale, precision = avro_type.get("scale", -1), avro_type.get("precision", 0)
        if not (0 <= scale <= precision and 1 <= precision <= MAX_DECIMAL_PRECISION):
            yield Violation("decimal", path, f"needs a precision of 1 to {MAX_DECIMAL_PRECISION} and a scale within it")


def _bounds(field: Schema, path: str, is_event: bool) -> Iterator[Violation]:
    kinds = [branch["type"] if isinstance(branch, dict) else branch for branch in _branches(field["type"])]
    low, high = field.get("minimum"), field.get("maximum")
    if low is None and high is None:
        if is_event and {"float", "double"} & set(kinds):
            yield Violation("unbounded-double", path, "a number of an event needs minimum and maximum")
    elif low is None or high is None or low > high:
        yield Violation("bounds", path, "needs minimum and maximum, the smaller first")
    elif {"float", "double"} & set(kinds) and max(abs(low), abs(high)) > MAX_BOUND:
        yield Violation("bounds", path, f"beyond {MAX_BOUND:.0f} a double can't hold 1/1,000,000")


def _default(field: Schema, path: str) -> Iterator[Violation]:
    if isinstance(field["type"], list) and field.get("default", None) is not None:
        yield Violation("default", path, "the default of a union [null, X] is null")


def _branches(avro_type: Any) -> list[Any]:
    return avro_type if isinstance(avro_type, list) else [avro_type]
