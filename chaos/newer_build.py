"""A newer build of Penstock: this one, copied, with one more field in a record; for schemas that change on the way."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGES = ("avro_schemas", "penstock", "producers", "processors", "consumers", "referee")

RECORD = Path("avro_schemas", "orders", "OrderPlaced.avsc")
NEW_FIELD = {
    "name": "channel",
    "type": ["null", "string"],
    "default": None,
    "doc": "Where it was placed, if known: shop or app.",
}


def make_newer_build(folder: Path) -> Path:
    """Copy the packages into ``folder``, add :data:`NEW_FIELD` to `OrderPlaced`, and return ``folder``.

    It is run with ``PYTHONPATH`` set to it; ``schemas lock`` and ``schemas register`` are still to be run, by it.
    """
    folder.mkdir(parents=True)
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / RECORD
    schema = json.loads(path.read_text(encoding="utf-8"))
    schema["fields"].append(NEW_FIELD)
    path.write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")
    return folder
