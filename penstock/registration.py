"""Bringing a registry and the contracts together: comparing, and registering."""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from penstock.compatibility import Break, violations
from penstock.contracts import Contract, contracts_of
from penstock.errors import PenstockError
from penstock.registry import Registry
from penstock.topics import TOPICS


class Registered(NamedTuple):
    """What became of one subject."""

    subject: str
    schema_id: int
    outcome: Literal["registered", "unchanged", "rule set"]


def subjects(contracts: Mapping[str, Contract]) -> Iterator[tuple[str, Contract]]:
    """Yield every subject with its contract: each record once for each topic that carries it."""
    for topic in TOPICS:
        for contract in contracts_of(topic, contracts).values():
            yield contract.subject(topic.name), contract


def registry_breaks(registry: Registry, contracts: Mapping[str, Contract]) -> list[Break]:
    """Compare each contract with all versions of its subjects. Raises as :class:`Registry` does."""
    return [item for subject, contract in subjects(contracts) for item in _breaks(registry, subject, contract)]


def register_contracts(registry: Registry, contracts: Mapping[str, Contract]) -> list[Registered]:
    """Register what the registry lacks, and set each subject's rule. Safe to do again, also after a failure.

    Raises as :class:`Registry` does, and :class:`PenstockError` for a contract that breaks with an older one.
    """
    return [_register(registry, subject, contract) for subject, contract in subjects(contracts)]


def _register(registry: Registry, subject: str, contract: Contract) -> Registered:
    rule_set = registry.require_compatibility(subject)
    known = registry.lookup(subject, contract.schema)
    if known is not None:
        return Registered(subject, known.schema_id, "rule set" if rule_set else "unchanged")
    found = _breaks(registry, subject, contract)
    if found:
        why = "; ".join(f"{item.version}: {item.violation.path} {item.violation.detail}" for item in found)
        raise PenstockError(f"{subject} can't be registered, it breaks with {why}")
    return Registered(subject, registry.register(subject, contract.schema), "registered")


def _breaks(registry: Registry, subject: str, contract: Contract) -> list[Break]:
    return [
        Break(contract.name, f"{subject} version {version.number}", violation)
        for version in registry.versions(subject)
        for violation in violations(contract.schema, version.schema)
    ]
