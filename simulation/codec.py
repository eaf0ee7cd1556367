"""Real bytes both ways, made once per process: encoders, decoders, and schema versions older and newer than this build.

The decoders are the stages' own. What the stages sent is read back with fastavro, which they do not read with.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import fastavro

from penstock.avro import HEADER_BYTES, Decoder, Encoder
from penstock.avro_encoding import encoder_schema
from penstock.contracts import Contract, Schema, load_contracts, load_lock
from penstock.schema_ids import LockedIds
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME
from processors.outbox import Outbox

MAX_BYTES = 2_000
LETTER_BYTES = 100_000
VIEW_RECORDS = 6
"""A read of the views' of as many is a backlog: then a merge stays in hand while the next batch is read."""
UNKNOWN_ID = 65_000

_OTHER_VERSIONS = {
    "OrderPlaced": {"older": 60_001, "newer": 60_002},
    "ReadingTaken": {"older": 60_003, "newer": 60_004},
    "OrderPaid": {"newer": 60_005},
}
"""Ids of versions that the lock file does not have: the registry of the simulation knows them."""


@cache
def settings(*, accept_trimmed_log: bool = False) -> Settings:
    """Return the settings of all stages of all schedules."""
    return load_settings(
        max_record_bytes=MAX_BYTES, accept_trimmed_log=accept_trimmed_log, view_batch_records=VIEW_RECORDS
    )


@cache
def contracts() -> dict[str, Contract]:
    """Return this build's contracts."""
    return load_contracts()


@cache
def ids() -> LockedIds:
    """Return the ids of the lock file and of :data:`_OTHER_VERSIONS`."""
    others = {
        schema_id: Contract(name, contracts()[name].folder, _version(name, age))
        for name, ages in _OTHER_VERSIONS.items()
        for age, schema_id in ages.items()
    }
    return LockedIds({**load_lock(), **others}, contracts())


def _version(name: str, age: str) -> Schema:
    """Return an older version (a field less, a narrower number) or a newer one (a field and a symbol more)."""
    schema = contracts()[name].schema
    fields = list(schema["fields"])
    if age == "older":
        kept = [field for field in fields if field["name"] != "customer_id"]
        return {**schema, "fields": [{**f, "type": "float"} if f["name"] == "value" else f for f in kept]}
    fields = [{**f, "type": _with_symbol(f["type"])} for f in fields]
    return {**schema, "fields": [*fields, {"name": "note", "type": "string", "default": ""}]}


def _with_symbol(kind: Any) -> Any:
    is_enum = isinstance(kind, dict) and kind.get("type") == "enum"
    return {**kind, "symbols": [*kind["symbols"], "NEXT_YEARS"]} if is_enum else kind


@cache
def encoder(record: str, topic: str, age: str = "now") -> Encoder:
    """Return the encoder of a record as written by this build, an ``older`` or a ``newer`` one."""
    if age == "now":
        return Encoder(contracts()[record], ids().id_of(contracts()[record], BY_NAME[topic]))
    return Encoder(Contract(record, contracts()[record].folder, _version(record, age)), _OTHER_VERSIONS[record][age])


def ages(record: str) -> Sequence[str]:
    """Return which versions of a record can be written."""
    return ("now", *_OTHER_VERSIONS.get(record, ()))


@cache
def decoder(topic: str) -> Decoder:
    """Return the decoder of a topic, by its logical name."""
    limit = LETTER_BYTES if BY_NAME[topic].role == "letters" else MAX_BYTES
    return Decoder(BY_NAME[topic], contracts(), ids(), limit)


@cache
def outbox() -> Outbox:
    """Return the processors' outbox: it has no state."""
    return Outbox(settings(), contracts(), ids())


@cache
def _plain(record: str) -> tuple[Any, frozenset[str]]:
    """Return a record's schema in the columns' names, and which of them are decimals."""
    schema = encoder_schema(contracts()[record].schema)
    decimals = {field["name"] for field in schema["fields"] if "penstock-unscaled" in str(field["type"])}
    return fastavro.parse_schema(schema), frozenset(decimals)


@cache
def _records_by_id() -> Mapping[int, str]:
    return {schema_id: contract.name for schema_id, contract in load_lock().items()}


def read(value: bytes) -> tuple[str, dict[str, Any]]:
    """Return name and fields of a record that a stage wrote; decimals as unscaled integers (``revenue_e4``)."""
    record = _records_by_id()[int.from_bytes(value[1:HEADER_BYTES], "big")]
    schema, decimals = _plain(record)
    fields: Any = fastavro.schemaless_reader(io.BytesIO(value[HEADER_BYTES:]), schema)
    for name in decimals:
        if fields[name] is not None:
            fields[name] = int.from_bytes(fields[name], "big", signed=True)
    return record, fields
