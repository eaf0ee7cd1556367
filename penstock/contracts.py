"""The contracts of the records: read from ``avro_schemas/``, with the ids of the lock file.

``avro_schemas/<folder>/<Record>.avsc`` holds the current schema of a record; ``lock.json`` holds every
version that was ever locked, by id, and its fingerprint. The lock's ids are used in the embedded mode only.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.topics import Topic

Schema = dict[str, Any]

SCHEMAS_DIR = Path(str(files("avro_schemas")))
LOCK_NAME = "lock.json"


@dataclass(frozen=True)
class Contract:
    """One version of a record's schema."""

    name: str
    folder: str
    schema: Schema

    @property
    def fullname(self) -> str:
        """Namespace and name, as Avro has it."""
        return f"{self.schema['namespace']}.{self.name}"

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the schema's JSON, the order of keys aside."""
        return hashlib.sha256(json.dumps(self.schema, sort_keys=True).encode()).hexdigest()

    def subject(self, topic: str) -> str:
        """Return the registry's subject: topic (its logical name) + record name."""
        return f"{topic}-{self.fullname}"


def load_contracts(root: Path = SCHEMAS_DIR) -> dict[str, Contract]:
    """Read the current contracts, by record name. Raises :class:`PenstockError` for a file that is wrong."""
    contracts: dict[str, Contract] = {}
    for path in sorted(root.glob("*/*.avsc")):
        try:
            schema = json.loads(path.read_text())
        except ValueError as error:
            raise PenstockError(f"{path}: not JSON: {error}") from None
        if not isinstance(schema, dict) or schema.get("name") != path.stem or "namespace" not in schema:
            raise PenstockError(f"{path}: must be a record named {path.stem} with a namespace")
        if path.stem in contracts:
            raise PenstockError(f"{path}: {path.stem} is already in folder {contracts[path.stem].folder}")
        contracts[path.stem] = Contract(path.stem, path.parent.name, schema)
    return contracts


def contracts_of(topic: Topic, contracts: Mapping[str, Contract]) -> dict[str, Contract]:
    """Return those of ``contracts`` that ``topic`` carries."""
    return {name: contract for name, contract in contracts.items() if contract.folder in topic.folders}


def load_lock(root: Path = SCHEMAS_DIR) -> dict[int, Contract]:
    """Read every locked version, by id, oldest first.

    Raises :class:`PenstockError` when it was edited by hand: a changed entry, or an id that is there twice.
    """
    path = root / LOCK_NAME
    if not path.exists():
        return {}
    locked: dict[int, Contract] = {}
    try:
        for entry in json.loads(path.read_text())["schemas"]:
            contract = Contract(entry["name"], entry["folder"], entry["schema"])
            if contract.fingerprint != entry["fingerprint"] or int(entry["id"]) in locked:
                raise PenstockError(
                    f"{path}: entry {entry['id']} ({contract.name}) was changed, and locked versions never are: "
                    "restore the file, then run `penstock schemas lock`"
                )
            locked[int(entry["id"])] = contract
    except (ValueError, KeyError, TypeError) as error:
        raise PenstockError(f"{path}: is no lock file ({error}): restore it") from None
    return dict(sorted(locked.items()))


def save_lock(locked: Mapping[int, Contract], root: Path = SCHEMAS_DIR) -> None:
    """Write the lock file."""
    entries = [
        {
            "id": schema_id,
            "name": contract.name,
            "folder": contract.folder,
            "fingerprint": contract.fingerprint,
            "schema": contract.schema,
        }
        for schema_id, contract in sorted(locked.items())
    ]
    (root / LOCK_NAME).write_text(json.dumps({"schemas": entries}, indent=1) + "\n")
