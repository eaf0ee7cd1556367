"""Which schema an id stands for, and which id a contract has."""

from collections.abc import Mapping
from typing import Protocol

from penstock.contracts import Contract, contracts_of, load_contracts, load_lock
from penstock.errors import PenstockError, UsageError
from penstock.settings import Settings
from penstock.topics import Topic


class SchemaIds(Protocol):
    """Ids of the schemas, from the lock file or from a registry."""

    def id_of(self, contract: Contract, topic: Topic) -> int:
        """Return the id to write ``contract`` with. Raises PenstockError when it was never registered,
        Unavailable when the registry is away."""

    def writer(self, schema_id: int, topic: Topic) -> Contract | None:
        """Return the version that ``schema_id`` stands for, or None when a record with it on ``topic`` can't
        be used: nobody knows the id, or it belongs to another topic.

        Raises ProtectiveStop for a version of one of this topic's records that is newer than this build,
        Unavailable when the registry is away. Answers are kept: a second call costs nothing.
        """


class LockedIds:
    """The ids of the lock file: embedded mode only."""

    def __init__(
        self, locked: Mapping[int, Contract] | None = None, contracts: Mapping[str, Contract] | None = None
    ) -> None:
        self._locked = load_lock() if locked is None else locked
        self._contracts = load_contracts() if contracts is None else contracts
        self._ids = {contract.fingerprint: schema_id for schema_id, contract in self._locked.items()}

    def id_of(self, contract: Contract, topic: Topic) -> int:
        """See :class:`SchemaIds`."""
        try:
            return self._ids[contract.fingerprint]
        except KeyError:
            raise PenstockError(f"{contract.name} differs from the lock file: run `penstock schemas lock`") from None

    def writer(self, schema_id: int, topic: Topic) -> Contract | None:
        """See :class:`SchemaIds`."""
        contract = self._locked.get(schema_id)
        if contract is None or contract.name not in contracts_of(topic, self._contracts):
            return None
        return contract


def schema_ids(settings: Settings) -> SchemaIds:
    """Return the ids that ``settings`` choose: the lock file's when embedded, else the registry's.

    Asks nobody yet. Raises :class:`UsageError` when there is neither.
    """
    if settings.embedded:
        return LockedIds()
    if settings.schema_registry_url is None:
        raise UsageError(
            "SCHEMA_REGISTRY_URL is not set: name the registry (Apicurio: http://HOST:PORT/apis/ccompat/v7), "
            "or set PENSTOCK_EMBEDDED=true to take the ids of the lock file"
        )
    from penstock.registry import Registry, RegistryIds

    return RegistryIds(Registry(settings))
