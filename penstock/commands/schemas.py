"""``penstock schemas``: lock the contracts, check them, register them, list them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.commands.tables import print_table
from penstock.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from penstock.compatibility import Break

TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the registry (then exit 3).")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    schemas = typer.Typer(no_args_is_help=True, help="The contracts: lock, check, register and list them.")
    schemas.command("lock")(lock)
    schemas.command("check")(check)
    schemas.command("register")(register_all)
    schemas.command("list")(list_all)
    app.add_typer(schemas, name="schemas")


def lock() -> int:
    """Add new and changed contracts to the lock file, each under a new id.

    Locked versions never change. Refused (exit 1) if a contract breaks a rule or can't read what was written
    with a locked version: see `penstock schemas check`. Run twice, the second changes nothing.
    """
    from penstock.contract_lock import extended, problems
    from penstock.contracts import load_contracts, load_lock, save_lock

    contracts, locked = load_contracts(), load_lock()
    found = problems(contracts, locked)
    if found:
        _print_breaks(found)
        return ExitCode.FAILED
    longer = extended(contracts, locked)
    added = {schema_id: contract for schema_id, contract in longer.items() if schema_id not in locked}
    if not added:
        _say(f"unchanged: {len(locked)} versions are locked")
        return ExitCode.OK
    save_lock(longer)
    for schema_id, contract in added.items():
        _say(f"locked {contract.name} as id {schema_id}")
    return ExitCode.OK


def check(timeout: TimeoutOption = 60.0) -> int:
    """Check the contracts: their form, and that each reads all that was ever written (BACKWARD_TRANSITIVE).

    Compares with every version of the lock file and, if SCHEMA_REGISTRY_URL is set, of the registry. Each
    break is named by rule and field; then the exit code is 1.
    """
    from penstock.contract_lock import check as check_lock
    from penstock.contracts import load_contracts, load_lock
    from penstock.log import configure_logging
    from penstock.settings import load_settings

    settings, contracts, locked = load_settings(), load_contracts(), load_lock()
    configure_logging(settings)
    found = check_lock(contracts, locked)
    against = f"{len(locked)} locked versions"
    if settings.schema_registry_url:
        from penstock.registration import registry_breaks
        from penstock.registry import Registry
        from penstock.waiting import wait_for

        registry = Registry(settings)
        found += wait_for("registry", lambda: registry_breaks(registry, contracts), timeout_s=timeout)
        against += f" and the registry at {settings.schema_registry_url}"
    if found:
        _print_breaks(found)
        return ExitCode.FAILED
    _say(f"fine: {len(contracts)} contracts against {against}")
    return ExitCode.OK


def register_all(timeout: TimeoutOption = 60.0) -> int:
    """Register all contracts of all topics with the registry (SCHEMA_REGISTRY_URL).

    The subject is topic + record name, its rule BACKWARD_TRANSITIVE. Run twice, the second says "unchanged".
    """
    from penstock.contracts import load_contracts
    from penstock.log import configure_logging
    from penstock.registration import register_contracts
    from penstock.registry import Registry
    from penstock.settings import load_settings
    from penstock.waiting import wait_for

    settings = load_settings()
    configure_logging(settings)
    if settings.schema_registry_url is None:
        raise UsageError("SCHEMA_REGISTRY_URL is not set: there is no registry to register with")
    registry, contracts = Registry(settings), load_contracts()
    done = wait_for("registry", lambda: register_contracts(registry, contracts), timeout_s=timeout)
    print_table(("Subject", "Id", ""), ((line.subject, str(line.schema_id), line.outcome) for line in done))
    return ExitCode.OK


def list_all() -> int:
    """List the contracts: record, folder, topics, locked ids (the last is current), fingerprint."""
    from penstock.contract_lock import ids_of
    from penstock.contracts import load_contracts, load_lock
    from penstock.topics import TOPICS

    locked = load_lock()
    current = {contract.fingerprint for contract in locked.values()}

    def rows() -> Iterator[tuple[str, ...]]:
        for name, contract in sorted(load_contracts().items()):
            topics = ", ".join(topic.name for topic in TOPICS if contract.folder in topic.folders)
            ids = ", ".join(map(str, ids_of(contract, locked)))
            mark = "" if contract.fingerprint in current else " (not locked)"
            yield name, contract.folder, topics, ids, contract.fingerprint[:16] + mark

    print_table(("Record", "Folder", "Topics", "Locked ids", "Fingerprint"), rows())
    return ExitCode.OK


def _print_breaks(found: "Sequence[Break]") -> None:
    rows = ((b.record, b.version, b.violation.rule, b.violation.path, b.violation.detail) for b in found)
    print_table(("Record", "Against", "Rule", "Field", "What is wrong"), rows)
    _say(f"{len(found)} broken rule{'s' if len(found) > 1 else ''}")


def _say(line: str) -> None:
    typer.echo(line)
