"""``python infra/kubernetes/schemas.py DEFINITIONS CRD...``: the schemas that the manifests are held against, reduced.

DEFINITIONS is ``_definitions.json`` of a ``*-local-strict`` folder in the wheel ``kubernetes-validate``; a CRD is the
CustomResourceDefinition of a kind that the manifests use. Kept are those kinds only, without descriptions, defaults and
status; unknown fields are refused where the CRD does not say that it keeps them. What occurs twice is kept once.
The result is ``tests/infra/kubernetes_schemas/schemas.json``; where it is from stands beside it.
"""

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
SCHEMAS = HERE.parents[1] / "tests" / "infra" / "kubernetes_schemas" / "schemas.json"
METADATA = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
DROPPED = {"description", "default", "example", "externalDocs", "format", "title"}
WORTH_SHARING = 160
"""From how many characters on a schema that occurs again is kept once."""

Schema = dict[str, Any]


def used_kinds() -> set[tuple[str, str]]:
    """Return the (API version, kind) of all manifests."""
    found = (one for path in HERE.rglob("*.yaml") for one in yaml.safe_load_all(path.read_text()) if one)
    return {(one["apiVersion"], one["kind"]) for one in found if one["kind"] != "Kustomization"}


def built_in(definitions: dict[str, Schema], version: str, kind: str) -> Schema | None:
    """Return the schema of a kind of Kubernetes' own."""
    group, _, number = version.rpartition("/")
    asked = {"group": group, "kind": kind, "version": number}
    for schema in definitions.values():
        if asked in schema.get("x-kubernetes-group-version-kind", ()):
            return _object(inlined(schema, definitions), inlined(definitions[METADATA], definitions), version, kind)
    return None


def custom(definitions: dict[str, Schema], crd: Schema, version: str, kind: str) -> Schema | None:
    """Return the schema of a kind that ``crd`` defines."""
    group, _, number = version.rpartition("/")
    if (crd["spec"]["group"], crd["spec"]["names"]["kind"]) != (group, kind):
        return None
    for offered in crd["spec"]["versions"]:
        if offered["name"] == number:
            schema = strict(offered["schema"]["openAPIV3Schema"])
            return _object(schema, inlined(definitions[METADATA], definitions), version, kind)
    return None


def _object(schema: Schema, metadata: Schema, version: str, kind: str) -> Schema:
    properties = {name: value for name, value in schema["properties"].items() if name != "status"}
    properties |= {"apiVersion": {"const": version}, "kind": {"const": kind}, "metadata": metadata}
    required = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"} - {"status"})
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def inlined(schema: Any, definitions: dict[str, Schema]) -> Any:
    """Return a schema without references and without what checks nothing."""
    if isinstance(schema, list):
        return [inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        return inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _below(name, value, definitions) for name, value in schema.items() if _checks(name, value)}


def _below(name: str, value: Any, definitions: dict[str, Schema]) -> Any:
    if name == "properties":  # whose names are fields, and may be "description"
        return {field: inlined(below, definitions) for field, below in value.items()}
    return inlined(value, definitions)


def _checks(name: str, value: Any) -> bool:
    return name not in DROPPED and not name.startswith("x-kubernetes-")


def strict(schema: Any) -> Any:
    """Return a CRD's schema, in Kubernetes' dialect, as JSON schema that refuses unknown fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {
        name: {field: strict(below) for field, below in value.items()} if name == "properties" else strict(value)
        for name, value in schema.items()
        if _checks(name, value) and name != "nullable"
    }
    open_ended = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    if schema.get("type") == "object" and "properties" in schema and not open_ended:
        found.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
        found.pop("anyOf", None)
    if schema.get("nullable") and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


class Shared:
    """Keeps what occurs more than once, once."""

    def __init__(self, schemas: list[Schema]) -> None:
        self._seen: Counter[str] = Counter()
        self._names: dict[str, str] = {}
        self.definitions: dict[str, Schema] = {}
        for schema in schemas:
            self._count(schema)

    def _count(self, schema: Any) -> None:
        for below in _schemas_below(schema):
            text = json.dumps(below, sort_keys=True)
            self._seen[text] += 1
            if self._seen[text] == 1:
                self._count(below)

    def reduced(self, schema: Any) -> Any:
        """Return ``schema`` with references in place of what is kept in :attr:`definitions`."""
        if isinstance(schema, list):
            return [self._kept(item) for item in schema]
        if not isinstance(schema, dict):
            return schema
        return {
            name: {field: self._kept(below) for field, below in value.items()}
            if name == "properties"
            else self._kept(value)
            for name, value in schema.items()
        }

    def _kept(self, schema: Any) -> Any:
        text = json.dumps(schema, sort_keys=True)
        if not isinstance(schema, dict) or self._seen[text] < 2 or len(text) < WORTH_SHARING:
            return self.reduced(schema)
        if text not in self._names:
            self._names[text] = name = f"s{len(self._names)}"
            self.definitions[name] = {}
            self.definitions[name] = self.reduced(schema)
        return {"$ref": f"#/$defs/{self._names[text]}"}


def _schemas_below(schema: Any) -> list[Any]:
    if isinstance(schema, list):
        return [item for item in schema if isinstance(item, dict)]
    if not isinstance(schema, dict):
        return []
    found = []
    for name, value in schema.items():
        below = value.values() if name == "properties" else value if isinstance(value, list) else [value]
        found += [item for item in below if isinstance(item, dict)]
    return found


def main(definitions_path: str, *crd_paths: str) -> None:
    """Write the file."""
    definitions = json.loads(Path(definitions_path).read_text())["$defs"]
    crds = [crd for path in crd_paths for crd in yaml.safe_load_all(Path(path).read_text()) if crd]
    kinds: dict[str, Schema] = {}
    for version, kind in sorted(used_kinds()):
        found = built_in(definitions, version, kind)
        for crd in crds:
            found = found or custom(definitions, crd, version, kind)
        if found is None:
            raise SystemExit(f"neither Kubernetes nor a CRD that was given defines {version} {kind}")
        kinds[f"{version} {kind}"] = found
    shared = Shared(list(kinds.values()))
    reduced = {name: shared.reduced(schema) for name, schema in kinds.items()}
    lines = [_lines("kinds", reduced), _lines("$defs", shared.definitions)]
    SCHEMAS.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def _lines(name: str, schemas: dict[str, Schema]) -> str:
    inside = ",\n".join(
        f"{json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in schemas.items()
    )
    return f"{json.dumps(name)}: {{\n{inside}\n}}"


if __name__ == "__main__":
    main(*sys.argv[1:])
