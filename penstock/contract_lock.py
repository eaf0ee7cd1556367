"""What the lock file promises: every version that was ever locked stays as it is, and stays readable."""

from collections.abc import Mapping

from penstock.compatibility import Break, Violation, transitive_breaks
from penstock.contract_lint import UNUSABLE, lint
from penstock.contracts import Contract


def problems(current: Mapping[str, Contract], locked: Mapping[int, Contract]) -> list[Break]:
    """Return what forbids to lock ``current``: lint, and breaks against any locked version."""
    linted = [Break(c.name, "contract", item) for c in current.values() for item in lint(c)]
    unusable = {found.record for found in linted if found.violation.rule in UNUSABLE}
    sound = {name: contract for name, contract in current.items() if name not in unusable}
    old = {schema_id: contract for schema_id, contract in locked.items() if contract.name not in unusable}
    return [*linted, *transitive_breaks(sound, old)]


def unlocked(current: Mapping[str, Contract], locked: Mapping[int, Contract]) -> list[Contract]:
    """Return the contracts, by name, that the lock file does not hold as they are."""
    known = {contract.fingerprint for contract in locked.values()}
    return [contract for _, contract in sorted(current.items()) if contract.fingerprint not in known]


def check(current: Mapping[str, Contract], locked: Mapping[int, Contract]) -> list[Break]:
    """Return all that `penstock schemas check` finds without a registry."""
    missing = Violation("not-locked", "", "differs from the lock file: run `penstock schemas lock`")
    stale = [
        Break(contract.name, "lock file", missing._replace(path=contract.name))
        for contract in unlocked(current, locked)
    ]
    return [*problems(current, locked), *stale]


def extended(current: Mapping[str, Contract], locked: Mapping[int, Contract]) -> dict[int, Contract]:
    """Return the lock with what is missing added under new ids; nothing that it holds changes."""
    first = max(locked, default=0) + 1
    return {**locked, **dict(enumerate(unlocked(current, locked), first))}


def ids_of(contract: Contract, locked: Mapping[int, Contract]) -> list[int]:
    """Return the ids of all locked versions of the contract's record, oldest first."""
    return sorted(schema_id for schema_id, version in locked.items() if version.name == contract.name)
