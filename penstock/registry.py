"""A schema registry that speaks Confluent's API, and the ids that it gives.

Only ``penstock schemas register`` registers. A stage looks ids up by schema, and schemas up by id.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx

from penstock.contracts import Contract, Schema, contracts_of, load_contracts, load_lock
from penstock.errors import PenstockError, ProtectiveStop, Refused, Unavailable
from penstock.settings import Settings
from penstock.topics import Topic
from penstock.trust import trusted

COMPATIBILITY = "BACKWARD_TRANSITIVE"
REQUEST_TIMEOUT_S = 10.0
NEGATIVE_ANSWERS_S = 30.0
"""How long "nobody knows this id" is believed: it may be registered later."""

MAX_NEGATIVE_ANSWERS = 10_000
MAX_SCHEMA_ID = 2**31 - 1
"""Confluent's ids are positive 32-bit integers."""

_NOT_FOUND_CODES = {40401, 40402, 40403}
"""No such subject, version, schema: an answer of the registry, not of something else at its address."""


class Version(NamedTuple):
    """A registered version of a subject: its number, the id that records carry, and its schema."""

    number: int
    schema_id: int
    schema: Schema


class Registry:
    """A client. Every call raises :class:`Unavailable` while the registry is away (no connection, time-out,
    5xx, 429), :class:`Refused` when it refuses us (401, 403) or its certificate does not verify, and
    :class:`PenstockError` when it is no such registry."""

    def __init__(self, settings: Settings, transport: httpx.BaseTransport | None = None) -> None:
        if settings.schema_registry_url is None:
            raise PenstockError("SCHEMA_REGISTRY_URL is not set")
        self.url = settings.schema_registry_url
        secret = settings.schema_registry_password
        name = settings.schema_registry_username
        auth = httpx.BasicAuth(name, secret.get_secret_value() if secret else "") if name else None
        self._client = httpx.Client(
            base_url=f"{self.url}/",
            auth=auth,
            timeout=REQUEST_TIMEOUT_S,
            transport=transport,
            verify=trusted("SCHEMA_REGISTRY_SSL_CA_LOCATION", settings.schema_registry_ssl_ca_location),
        )

    def lookup(self, subject: str, schema: Schema) -> Version | None:
        """Return the version of ``subject`` that has this schema; None if there is none."""
        found = self._ask("POST", f"subjects/{subject}", {"schema": schema_text(schema)})
        return None if found is None else _version(found)

    def versions(self, subject: str) -> list[Version]:
        """Return all versions of ``subject``, oldest first; none if it does not exist."""
        numbers = self._ask("GET", f"subjects/{subject}/versions") or []
        found = (self._ask("GET", f"subjects/{subject}/versions/{number}") for number in sorted(numbers))
        return [_version(version) for version in found if version is not None]

    def register(self, subject: str, schema: Schema) -> int:
        """Register ``schema`` and return its id. Raises :class:`PenstockError` if it is incompatible."""
        done = self._ask("POST", f"subjects/{subject}/versions", {"schema": schema_text(schema)})
        if done is None:
            raise PenstockError(f"the registry at {self.url} could not register {subject}: it says not found")
        return int(done["id"])

    def require_compatibility(self, subject: str) -> bool:
        """Set the subject's rule to :data:`COMPATIBILITY`; return False if that is its rule already."""
        current = self._ask("GET", f"config/{subject}")
        if current is not None and current.get("compatibilityLevel") == COMPATIBILITY:
            return False
        self._ask("PUT", f"config/{subject}", {"compatibility": COMPATIBILITY})
        return True

    def schema(self, schema_id: int) -> Schema | None:
        """Return the schema of an id; None if the registry does not know it, or it is no Avro record."""
        found = self._ask("GET", f"schemas/ids/{schema_id}")
        if found is None or found.get("schemaType", "AVRO") != "AVRO":
            return None
        schema = _parsed(found)
        return schema if isinstance(schema, dict) and schema.get("type") == "record" else None

    def subjects_of(self, schema_id: int) -> set[str]:
        """Return the subjects that have a version of this id."""
        found = self._ask("GET", f"schemas/ids/{schema_id}/versions") or []
        return {str(version["subject"]) for version in found}

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON of the answer, None when the registry says that it knows no such thing."""
        try:
            response = self._client.request(method, path, json=body)
        except httpx.TransportError as error:
            what = str(error) or type(error).__name__
            if "[SSL" in what:
                raise Refused(f"no TLS with {self.url}: {what}; check SCHEMA_REGISTRY_SSL_CA_LOCATION") from None
            raise Unavailable(f"the schema registry at {self.url} does not answer: {what}") from None
        if response.is_success:
            return self._json(response)
        return self._refusal(response)

    def _refusal(self, response: httpx.Response) -> None:
        status = response.status_code
        if status >= 500 or status in (408, 429):
            raise Unavailable(f"the schema registry at {self.url} is not ready: it answers {status}")
        if status in (401, 403):
            raise Refused(
                f"the schema registry at {self.url} refuses us ({status}): "
                "check SCHEMA_REGISTRY_USERNAME and SCHEMA_REGISTRY_PASSWORD"
            )
        said = _error_of(response)
        if said is None:
            raise self._stranger(f"{response.request.method} {response.request.url.path}: {status}")
        if said.get("error_code") in _NOT_FOUND_CODES:
            return
        raise PenstockError(f"the schema registry at {self.url} says: {said.get('message', status)}")

    def _json(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise self._stranger(f"{response.request.url.path} is not JSON") from None

    def _stranger(self, why: str) -> PenstockError:
        return PenstockError(
            f"SCHEMA_REGISTRY_URL: {self.url} is not the base of Confluent's API ({why}); "
            "Apicurio has it at http://HOST:PORT/apis/ccompat/v7"
        )


class RegistryIds:
    """The ids of a registry; see :class:`penstock.schema_ids.SchemaIds`. What was found is kept for ever.

    A schema from the registry is recognised by its content without docs: registries write schemas anew, and
    take versions that differ in docs only for one.
    """

    def __init__(
        self,
        registry: Registry,
        locked: Mapping[int, Contract] | None = None,
        contracts: Mapping[str, Contract] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._contracts = load_contracts() if contracts is None else contracts
        versions = (load_lock() if locked is None else locked).values()
        self._known = {meaning(c.schema): c for c in [*versions, *self._contracts.values()]}
        self._clock = clock
        self._ids: dict[tuple[str, str], int] = {}
        self._writers: dict[tuple[int, str], Contract] = {}
        self._unknown: dict[tuple[int, str], float] = {}

    def id_of(self, contract: Contract, topic: Topic) -> int:
        """See :class:`penstock.schema_ids.SchemaIds`."""
        key = contract.fingerprint, topic.name
        if key not in self._ids:
            subject = contract.subject(topic.name)
            found = self._registry.lookup(subject, contract.schema)
            if found is None:
                raise PenstockError(
                    f"the registry at {self._registry.url} has no such version of {subject}: "
                    "run `penstock schemas register`"
                )
            self._ids[key] = found.schema_id
        return self._ids[key]

    def writer(self, schema_id: int, topic: Topic) -> Contract | None:
        """See :class:`penstock.schema_ids.SchemaIds`."""
        key = schema_id, topic.name
        known = self._writers.get(key)
        if known is not None:
            return known
        if not 0 < schema_id <= MAX_SCHEMA_ID or self._unknown.get(key, 0.0) > self._clock():
            return None
        contract = self._find(schema_id, topic)
        if contract is None:
            if len(self._unknown) >= MAX_NEGATIVE_ANSWERS:  # random ids must not fill the memory
                self._unknown.clear()
            self._unknown[key] = self._clock() + NEGATIVE_ANSWERS_S
            return None
        self._writers[key] = contract
        return contract

    def _find(self, schema_id: int, topic: Topic) -> Contract | None:
        schema = self._registry.schema(schema_id)
        if schema is None:
            return None
        known = self._known.get(meaning(schema))
        if known is not None:
            return known if known.name in contracts_of(topic, self._contracts) else None
        if f"{topic.name}-{_fullname(schema)}" not in self._registry.subjects_of(schema_id):
            return None
        raise ProtectiveStop(
            f"schema id {schema_id} on topic {topic.name} is a version of {_fullname(schema)} that this build "
            "does not know: it is newer; upgrade this stage, then start it again"
        )


def schema_text(schema: Schema) -> str:
    """Return a schema as the one text that is sent to a registry, whatever the order of keys in its file."""
    return json.dumps(schema, sort_keys=True, separators=(",", ":"))


def meaning(schema: Schema) -> str:
    """Return the content of a schema as text: without docs, and with 1.0 written as 1."""
    return schema_text(_bare(schema))


def _bare(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _bare(value) for key, value in part.items() if key != "doc"}
    if isinstance(part, list):
        return [_bare(value) for value in part]
    return int(part) if isinstance(part, float) and part.is_integer() else part


def _fullname(schema: Schema) -> str:
    name = str(schema.get("name"))
    return f"{schema['namespace']}.{name}" if schema.get("namespace") and "." not in name else name


def _version(found: Mapping[str, Any]) -> Version:
    return Version(int(found["version"]), int(found["id"]), _parsed(found))


def _parsed(found: Mapping[str, Any]) -> Any:
    try:
        return json.loads(found["schema"])
    except ValueError:
        return {}


def _error_of(response: httpx.Response) -> Mapping[str, Any] | None:
    """Return Confluent's error object; None if the answer holds none."""
    try:
        said = response.json()
    except ValueError:
        return None
    return said if isinstance(said, dict) and "error_code" in said else None
