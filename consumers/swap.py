"""What may happen to the builds of a view, each in one transaction that only one process has at a time."""

from consumers import builds
from consumers.builds import Build, Definition, in_state
from consumers.stores import Store, Transaction
from consumers.tables import add_version, definition_of, make_registers, make_tables, show
from consumers.view_files import REBUILDS, View, table_name, version_name
from penstock.errors import PenstockError, UsageError
from penstock.failpoints import failpoint


def begin(store: Store, view: View, pipeline: int) -> tuple[Build, Build]:
    """Return the live build, and the one to build beside it by the rules of ``view``: a new one, or what was begun.

    What was begun by other rules is dropped. Raises :class:`UsageError` if there is no live build.
    """
    with store.exclusively() as transaction:
        make_registers(transaction, store.dialect)
        live = _live(transaction, view, pipeline)
        begun = in_state(builds.builds(transaction, view.name, pipeline), "building")
        known = builds.versions(transaction, view.name)
        if begun is not None and known[begun.version].rules != view.rules:
            drop(transaction, view.name, begun)
            begun = None
        last = max(version // REBUILDS for version in known if builds.pipeline_of(version) == pipeline)
        version = begun.version if begun is not None else pipeline + (last + 1) * REBUILDS
        definition = definition_of(view, version, store.dialect)
        if begun is None:
            add_version(transaction, view, version)
            builds.add(transaction, view.name, version, "building", definition)
        make_tables(transaction, store.dialect, view, version)
        builds.define(transaction, view.name, version, definition)
        return live, Build(version, "building", definition)


def _live(transaction: Transaction, view: View, pipeline: int) -> Build:
    found = in_state(builds.builds(transaction, view.name, pipeline), "live")
    if found is not None:
        return found
    if pipeline not in builds.versions(transaction, view.name):
        raise UsageError(
            f"view {view.name} of pipeline version {pipeline} is not in this database: `penstock materialize` builds it"
        )
    # A database from before there were builds.
    unknown = Definition(tuple(view.tables))
    builds.add(transaction, view.name, pipeline, "live", unknown)
    return Build(pipeline, "live", unknown)


def swap(store: Store, view: View, live: Build, new: Build) -> None:
    """Make ``new`` the live build; ``live`` is kept as the old one, what was old may be dropped.

    Raises :class:`PenstockError`, and changes nothing, if they are no longer what they were.
    """
    pipeline = builds.pipeline_of(live.version)
    with store.exclusively() as transaction:
        older = in_state(builds.builds(transaction, view.name, pipeline), "old")
        if older is not None:
            builds.turn(transaction, view.name, older.version, "old", "dropped")
        _exchange(transaction, view.name, live, new)
        failpoint("rebuild.before-swap-commit")
    failpoint("rebuild.after-swap-commit")


def roll_back(store: Store, view: str, live: Build, old: Build) -> None:
    """Make ``old`` the live build again; ``live`` is kept as the old one. Raises as :func:`swap`."""
    with store.exclusively() as transaction:
        _exchange(transaction, view, live, old)
        failpoint("rebuild.before-swap-commit")
    failpoint("rebuild.after-swap-commit")


def _exchange(transaction: Transaction, view: str, live: Build, heir: Build) -> None:
    went = builds.turn(transaction, view, live.version, "live", "old")
    if not went or not builds.turn(transaction, view, heir.version, heir.state, "live"):
        raise PenstockError(
            f"view {view}: somebody else has swapped or dropped its builds meanwhile; nothing was changed, run it again"
        )
    if builds.versions(transaction, view)[live.version].shown:
        show(transaction, view, heir.version, heir.definition, instead_of=live)


def drop_dropped(store: Store, view: str, pipeline: int) -> list[str]:
    """Drop the tables of what may be dropped; return which those were."""
    with store.exclusively() as transaction:
        gone = [b for b in builds.builds(transaction, view, pipeline).values() if b.state == "dropped"]
        for build in gone:
            drop(transaction, view, build)
    return [version_name(build.version) for build in gone]


def drop_all_but_live(store: Store, view: str, pipeline: int) -> list[str]:
    """Drop every build that is not live, in whatever state; return which those were."""
    with store.exclusively() as transaction:
        make_registers(transaction, store.dialect)
        gone = [b for b in builds.builds(transaction, view, pipeline).values() if b.state != "live"]
        for build in gone:
            drop(transaction, view, build)
    return [version_name(build.version) for build in gone]


def drop(transaction: Transaction, view: str, build: Build) -> None:
    """Drop a build: its tables and its offsets. Its number stays known, so that no other gets it."""
    for table in build.definition.tables:
        transaction.execute(f"DROP TABLE IF EXISTS {table_name(table, build.version)}")
    row = {"view": view, "version": build.version}
    transaction.execute("DELETE FROM offsets WHERE view = :view AND version = :version", row)
    transaction.execute("DELETE FROM view_builds WHERE view = :view AND version = :version", row)
