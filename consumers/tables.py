"""Making the tables of the views, and the relations that people query.

Tables carry the pipeline's version, so a new version is built beside the old one. The relations carry none: they show
one version, the first that was built or the one that was last swapped in.
"""

from collections.abc import Iterable

from consumers import offsets
from consumers.stores import Store, Transaction, staging_table
from consumers.view_files import Dialect, View, render
from penstock.errors import ProtectiveStop

_VERSIONS = """CREATE TABLE IF NOT EXISTS view_versions (
  view {text} NOT NULL, version BIGINT NOT NULL, rules {text} NOT NULL, shown {text} NOT NULL,
  PRIMARY KEY (view, version)
)"""


def prepare(store: Store, views: Iterable[View], version: int, *, swap: bool = False) -> dict[str, int]:
    """Make what is missing, in one transaction; return which version people see, by view.

    With ``swap`` they see ``version`` from now on. Raises :class:`ProtectiveStop` if a view of this version was built
    by other SQL, and what :class:`consumers.stores.Store` raises.
    """
    chosen = tuple(views)
    store.prepare(
        render(staging_table(merge.staging(view.name), merge.columns), view, version, store.dialect)
        for view in chosen
        for merge in view.merges.values()
    )
    with store.exclusively() as transaction:
        for table in (offsets.TABLE, _VERSIONS):
            transaction.execute(table.replace("{text}", store.dialect.words["text"]))
        return {view.name: _prepare_view(transaction, store.dialect, view, version, swap=swap) for view in chosen}


def _prepare_view(transaction: Transaction, dialect: Dialect, view: View, version: int, *, swap: bool) -> int:
    known = {
        row[0]: row[1:]
        for row in transaction.fetch(
            "SELECT version, rules, shown FROM view_versions WHERE view = :view", {"view": view.name}
        )
    }
    if version not in known:
        transaction.execute(
            "INSERT INTO view_versions (view, version, rules, shown) VALUES (:view, :version, :rules, '')",
            {"view": view.name, "version": version, "rules": view.rules},
        )
    elif known[version][0] != view.rules:
        raise ProtectiveStop(
            f"view {view.name} of pipeline version {version} was built by other SQL than this build's: its rows "
            "can't be continued; start a new PENSTOCK_PIPELINE_VERSION"
        )
    for ddl in (*view.tables.values(), *view.indexes):
        transaction.execute(render(ddl, view, version, dialect))
    visible = next((number for number, (_, shown) in known.items() if shown), version)
    if visible != version and not swap:
        return int(visible)
    if known.get(version, ("", ""))[1] != view.shown:
        _show(transaction, dialect, view, version)
    return version


def _show(transaction: Transaction, dialect: Dialect, view: View, version: int) -> None:
    for name, sql in view.reads.items():
        transaction.execute(f"DROP VIEW IF EXISTS {name}")
        transaction.execute(f"CREATE VIEW {name} AS {render(sql, view, version, dialect)}")
    row = {"view": view.name, "version": version, "shown": view.shown}
    transaction.execute("UPDATE view_versions SET shown = '' WHERE view = :view", {"view": view.name})
    transaction.execute(
        "UPDATE view_versions SET shown = :shown WHERE view = :view AND version = :version", row
    )
