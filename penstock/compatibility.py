"""May a reader with one schema read what was written with another? Avro 1.12's "Schema Resolution", as breaks.

Stricter than Avro where Penstock's codec is: a value keeps its meaning (logical type, scale), fits the reader's
limits (precision, ``minimum``, ``maximum``) and its field's name (aliases are not read). What :func:`violations`
passes, ``penstock.avro_columns.reading_of`` can resolve.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from penstock.contracts import Contract, Schema

_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_NUMBERS = ("int", "long", "float", "double")


class Violation(NamedTuple):
    """A break: the rule, the path of the field (``OrderPlaced.items[].sku``), and a sentence."""

    rule: str
    path: str
    detail: str


class Break(NamedTuple):
    """A violation of a contract against its version ``version`` (a lock id, or the registry's number)."""

    record: str
    version: str
    violation: Violation


def violations(reader: Schema, writer: Schema) -> list[Violation]:
    """Return why data of ``writer`` can't be read as ``reader``, both record schemas; none if it can."""
    return list(_types(reader, writer, str(reader["name"])))


def transitive_breaks(current: Mapping[str, Contract], locked: Mapping[int, Contract]) -> list[Break]:
    """Compare each current contract with all locked versions of its record (BACKWARD_TRANSITIVE).

    A record that was locked must also stay, with its full name and in its folder: the log still holds it.
    """
    found = []
    for schema_id, old in sorted(locked.items()):
        version, new = f"lock id {schema_id}", current.get(old.name)
        if new is None:
            gone = Violation("record-removed", old.name, "was locked and has no .avsc; the log still holds it")
            found.append(Break(old.name, version, gone))
            continue
        if (new.fullname, new.folder) != (old.fullname, old.folder):
            moved = f"was {old.fullname} in {old.folder}/, is {new.fullname} in {new.folder}/"
            found.append(Break(old.name, version, Violation("record-moved", old.name, moved)))
        found += [Break(old.name, version, item) for item in violations(new.schema, old.schema)]
    return found


def _types(reader: Any, writer: Any, path: str) -> Iterator[Violation]:
    """Yield the breaks between two types: unions first, then by kind."""
    if isinstance(writer, list):
        for branch in writer:
            yield from _types(reader, branch, path)
    elif isinstance(reader, list):
        yield from _reader_union(reader, writer, path)
    elif _kind(reader) != _kind(writer):
        yield from _promotion(reader, writer, path)
    else:
        yield from _same_kind(reader, writer, path)


def _reader_union(reader: list[Any], writer: Any, path: str) -> Iterator[Violation]:
    attempts = [list(_types(branch, writer, path)) for branch in reader]
    if all(attempts):
        same = [a for branch, a in zip(reader, attempts, strict=True) if _kind(branch) == _kind(writer)]
        yield from same[0] if same else [_no_branch(reader, writer, path)]


def _no_branch(reader: list[Any], writer: Any, path: str) -> Violation:
    names = ", ".join(_kind(branch) for branch in reader)
    return Violation("missing-union-branch", path, f"may be {_kind(writer)}, and the new union has only {names}")


def _promotion(reader: Any, writer: Any, path: str) -> Iterator[Violation]:
    have, want = _kind(writer), _kind(reader)
    same_meaning = _logical(reader) == _logical(writer)
    if have == "null":
        yield Violation("null-removed", path, f"may be null, and the new {want} may not")
    elif want not in _PROMOTIONS.get(have, ()) or not (same_meaning or have in _NUMBERS):
        detail = f"was {_say(writer)}, is {_say(reader)}: {have} does not widen to that"
        yield Violation("type-changed", path, detail)
    elif not same_meaning:
        yield _meaning(reader, writer, path)


def _same_kind(reader: Any, writer: Any, path: str) -> Iterator[Violation]:
    kind = _kind(reader)
    if kind == "fixed" and reader["size"] != writer["size"]:
        yield Violation("fixed-size", path, f"had {writer['size']} bytes, has {reader['size']}")
    have, want = _logical(writer), _logical(reader)
    if have == want == "decimal":
        yield from _decimals(reader, writer, path)
    elif have != want and (have, want) != ("uuid", ""):  # a UUID stays a text; not every text is a UUID
        yield _meaning(reader, writer, path)
    if kind in ("record", "enum", "fixed") and _name(reader) != _name(writer):
        yield Violation("name-changed", path, f"{kind} {_name(writer)} is now {_name(reader)}")
    if kind == "record":
        yield from _records(reader, writer, path)
    elif kind == "enum":
        yield from _enums(reader, writer, path)
    elif kind == "array":
        yield from _types(reader["items"], writer["items"], f"{path}[]")
    elif kind == "map":
        yield from _types(reader["values"], writer["values"], f"{path}{{}}")


def _records(reader: Schema, writer: Schema, path: str) -> Iterator[Violation]:
    written = {field["name"]: field for field in writer["fields"]}
    for field in reader["fields"]:
        here, old = f"{path}.{field['name']}", written.get(field["name"])
        if old is not None:
            yield from _types(field["type"], old["type"], here)
            yield from _bounds(field, old, here)
        elif "default" not in field:
            yield Violation("no-default", here, "is new and has no default: older records can't be read")


def _enums(reader: Schema, writer: Schema, path: str) -> Iterator[Violation]:
    missing = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
    if missing and reader.get("default") not in reader["symbols"]:
        detail = f"lost {', '.join(missing)}, and the enum has no default to read them as"
        yield Violation("enum-symbol-removed", path, detail)


def _decimals(reader: Schema, writer: Schema, path: str) -> Iterator[Violation]:
    if reader.get("scale", 0) != writer.get("scale", 0):
        detail = f"had scale {writer.get('scale', 0)}, has {reader.get('scale', 0)}: numbers would change"
        yield Violation("decimal-scale", path, detail)
    if reader["precision"] < writer["precision"]:
        detail = f"had {writer['precision']} digits, has {reader['precision']}: older numbers may not fit"
        yield Violation("decimal-precision", path, detail)


def _bounds(reader: Schema, writer: Schema, path: str) -> Iterator[Violation]:
    """The limits ``minimum`` and ``maximum`` are Penstock's: what was inside must stay inside."""
    if ("minimum" in reader) != ("minimum" in writer) and _plain_kind(reader["type"]) in ("float", "double"):
        yield Violation("bounds-changed-column", path, "bounds decide if it is read in 1/1,000,000")
        return
    for bound, sign in (("minimum", 1), ("maximum", -1)):
        new, old = reader.get(bound), writer.get(bound)
        if new is not None and (old is None or sign * new > sign * old):
            was = "had none" if old is None else f"was {old}"
            yield Violation("bounds-narrowed", path, f"{bound} {was}, is {new}: older values may be outside")


def _meaning(reader: Any, writer: Any, path: str) -> Violation:
    return Violation("meaning-changed", path, f"was {_say(writer)}, is {_say(reader)}")


def _kind(avro_type: Any) -> str:
    return str(avro_type["type"] if isinstance(avro_type, dict) else avro_type)


def _plain_kind(avro_type: Any) -> str:
    branches = avro_type if isinstance(avro_type, list) else [avro_type]
    return next((_kind(branch) for branch in branches if branch != "null"), "null")


def _logical(avro_type: Any) -> str:
    return str(avro_type.get("logicalType", "")) if isinstance(avro_type, dict) else ""


def _name(avro_type: Schema) -> str:
    """Return the unqualified name: Avro compares names without their namespaces."""
    return str(avro_type["name"]).rpartition(".")[2]


def _say(avro_type: Any) -> str:
    return f"{_kind(avro_type)} ({_logical(avro_type)})" if _logical(avro_type) else _kind(avro_type)
