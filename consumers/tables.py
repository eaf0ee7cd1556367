"""Making the tables of the views, and the relations that people query.

Tables carry the pipeline's version, so a new version is built beside the old one, and the number of a rebuild
(:mod:`consumers.builds`). The relations carry none: they show one version, the first that was built or the one that
was last swapped in.
"""

from collections.abc import Iterable

from consumers import builds, offsets
from consumers.builds import Definition
from consumers.stores import Store, Transaction, staging_table
from consumers.view_files import Dialect, View, render
from penstock.errors import ProtectiveStop

_VERSIONS = """CREATE TABLE IF NOT EXISTS view_versions (
  view {text} NOT NULL, version BIGINT NOT NULL, rules {text} NOT NULL, shown {text} NOT NULL,
  PRIMARY KEY (view, version)
)"""


def prepare(store: Store, views: Iterable[View], version: int, *, swap: bool = False) -> dict[str, int]:
    """Make what is missing of pipeline ``version``, in one transaction; return which table version people see, by view.

    With ``swap`` they see this pipeline version from now on. Raises :class:`ProtectiveStop` if a view of it was built
    by other SQL, and what :class:`consumers.stores.Store` raises.
    """
    chosen = tuple(views)
    prepare_staging(store, chosen, version)
    with store.exclusively() as transaction:
        make_registers(transaction, store.dialect)
        return {view.name: _prepare_view(transaction, store.dialect, view, version, swap=swap) for view in chosen}


def prepare_staging(store: Store, views: Iterable[View], version: int) -> None:
    """Have each connection of ``store`` make the staging tables."""
    store.prepare(
        render(staging_table(merge.staging(view.name), merge.columns), view, version, store.dialect)
        for view in views
        for merge in view.merges.values()
    )


def make_registers(transaction: Transaction, dialect: Dialect) -> None:
    """Make the tables that say what is kept, and how far it is, if they are not there."""
    for table in (offsets.TABLE, _VERSIONS, builds.TABLE):
        transaction.execute(table.replace("{text}", dialect.words["text"]))


def make_tables(transaction: Transaction, dialect: Dialect, view: View, version: int) -> None:
    """Make the tables of a table version, if they are not there."""
    for ddl in (*view.tables.values(), *view.indexes):
        transaction.execute(render(ddl, view, version, dialect))


def add_version(transaction: Transaction, view: View, version: int) -> None:
    """Store that ``version`` of the tables is built by the rules of ``view``, and not shown."""
    transaction.execute(
        "INSERT INTO view_versions (view, version, rules, shown) VALUES (:view, :version, :rules, '')",
        {"view": view.name, "version": version, "rules": view.rules},
    )


def _prepare_view(transaction: Transaction, dialect: Dialect, view: View, pipeline: int, *, swap: bool) -> int:
    version = builds.live_version(transaction, view.name, pipeline)
    known = builds.versions(transaction, view.name)
    if version not in known:
        add_version(transaction, view, version)
    elif known[version].rules != view.rules:
        raise ProtectiveStop(
            f"view {view.name} of pipeline version {pipeline} was built by other SQL than this build's: its rows "
            f"can't be continued; `penstock rebuild {view.name}` builds it anew beside them, and swaps"
        )
    make_tables(transaction, dialect, view, version)
    builds.add(transaction, view.name, version, "live", definition_of(view, version, dialect))
    visible = next((number for number, found in known.items() if found.shown), version)
    if visible != version and not swap:
        return visible
    if version not in known or known[version].shown != view.shown:
        before = builds.builds(transaction, view.name, builds.pipeline_of(visible)).get(visible)
        show(transaction, view.name, version, definition_of(view, version, dialect), instead_of=before)
    return version


def definition_of(view: View, version: int, dialect: Dialect) -> Definition:
    """Return what must be known of a build of ``view`` later."""
    reads = {name: render(sql, view, version, dialect) for name, sql in view.reads.items()}
    return Definition(tuple(view.tables), reads, view.shown)


def show(
    transaction: Transaction, view: str, version: int, definition: Definition, instead_of: builds.Build | None = None
) -> None:
    """Let the relations for people show ``version``; those that only ``instead_of`` has are gone."""
    for name in {*definition.reads, *(instead_of.definition.reads if instead_of else ())}:
        transaction.execute(f"DROP VIEW IF EXISTS {name}")
    for name, sql in definition.reads.items():
        transaction.execute(f"CREATE VIEW {name} AS {sql}")
    builds.define(transaction, view, version, definition)
    row = {"view": view, "version": version, "shown": definition.shown}
    transaction.execute("UPDATE view_versions SET shown = '' WHERE view = :view", {"view": view})
    transaction.execute(
        "UPDATE view_versions SET shown = :shown WHERE view = :view AND version = :version", row
    )
