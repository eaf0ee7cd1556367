"""Builds of a view: the tables that a pipeline version has of it, and which of them are its live ones.

The first build of pipeline version 1 has the table version 1 and tables like ``orders_v1``; its second rebuild has the
table version 20001 and tables like ``orders_v1_r2``. Rows, offsets and rules are kept by table version, so what one
build merges never touches another. Table versions are never used twice, so a process that still writes to an old one
(it slept, say) finds nothing there that could take it for its own.

A build is *building*, then *live*, then *old* (for ``--rollback``), then *dropped* when its tables may go.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from consumers.offsets import Place, Stored, load
from consumers.stores import Transaction
from consumers.view_files import REBUILDS, View, version_name
from penstock.errors import ProtectiveStop

State = Literal["building", "live", "old", "dropped"]

TABLE = """CREATE TABLE IF NOT EXISTS view_builds (
  view {text} NOT NULL, pipeline BIGINT NOT NULL, version BIGINT NOT NULL, state {text} NOT NULL,
  definition {text} NOT NULL,
  PRIMARY KEY (view, pipeline, version)
)"""

_OF_VIEW = "SELECT version, state, definition FROM view_builds WHERE view = :view AND pipeline = :pipeline"

_LIVE = """SELECT b.view, b.version, v.rules FROM view_builds AS b
  JOIN view_versions AS v ON v.view = b.view AND v.version = b.version
  WHERE b.pipeline = :pipeline AND b.state = 'live'"""

_INSERT = """INSERT INTO view_builds (view, pipeline, version, state, definition)
  VALUES (:view, :pipeline, :version, :state, :definition) ON CONFLICT DO NOTHING"""

_RULES = "SELECT version, rules, shown FROM view_versions WHERE view = :view"


@dataclass(frozen=True)
class Definition:
    """What must be known of a build when the SQL of its time is gone: to drop it, to show it again."""

    tables: tuple[str, ...] = ()
    """The tables' names in the view file."""
    reads: Mapping[str, str] = field(default_factory=dict)
    """The ``SELECT`` of each relation for people, ready to run."""
    shown: str = ""
    """Digest of the relations, as :attr:`consumers.view_files.View.shown`."""

    def text(self) -> str:
        """Return it as it is stored."""
        return json.dumps({"tables": self.tables, "reads": dict(self.reads), "shown": self.shown}, sort_keys=True)


class Build(NamedTuple):
    """A build as it is stored."""

    version: int
    state: State
    definition: Definition


class Version(NamedTuple):
    """What is stored of a table version: the digest of its rules, and of the relations if people see it."""

    rules: str
    shown: str


def pipeline_of(version: int) -> int:
    """Return the pipeline version that a table version belongs to."""
    return version % REBUILDS


def builds(transaction: Transaction, view: str, pipeline: int) -> dict[int, Build]:
    """Return the builds of ``view``, by table version."""
    rows = transaction.fetch(_OF_VIEW, {"view": view, "pipeline": pipeline})
    return {int(row[0]): Build(int(row[0]), row[1], _definition(row[2])) for row in rows}


def versions(transaction: Transaction, view: str) -> dict[int, Version]:
    """Return all table versions that ``view`` ever had."""
    return {int(row[0]): Version(row[1], row[2]) for row in transaction.fetch(_RULES, {"view": view})}


def in_state(found: Mapping[int, Build], state: State) -> Build | None:
    """Return the build in ``state``, of which there is at most one; dropped ones aside."""
    return next((build for build in found.values() if build.state == state), None)


def live_version(transaction: Transaction, view: str, pipeline: int) -> int:
    """Return the table version that is live: the pipeline's own until a rebuild is swapped in."""
    build = in_state(builds(transaction, view, pipeline), "live")
    return pipeline if build is None else build.version


def add(transaction: Transaction, view: str, version: int, state: State, definition: Definition) -> None:
    """Store a build, if it is not there."""
    row = {"view": view, "pipeline": pipeline_of(version), "version": version, "state": state}
    transaction.execute(_INSERT, {**row, "definition": definition.text()})


def define(transaction: Transaction, view: str, version: int, definition: Definition) -> None:
    """Store what is known of a build now."""
    transaction.execute(
        "UPDATE view_builds SET definition = :definition WHERE view = :view AND version = :version",
        {"view": view, "version": version, "definition": definition.text()},
    )


def turn(transaction: Transaction, view: str, version: int, before: State, after: State) -> bool:
    """Move a build from a state to another, if it is in that; return whether it was."""
    changed = transaction.execute(
        "UPDATE view_builds SET state = :after WHERE view = :view AND version = :version AND state = :before",
        {"view": view, "version": version, "before": before, "after": after},
    )
    return changed == 1


def follow(transaction: Transaction, views: Iterable[View], pipeline: int) -> dict[str, int]:
    """Return the table versions to keep, by view.

    Raises :class:`ProtectiveStop` if a view was rebuilt with other SQL than this build's, which can't continue it.
    """
    live = {str(row[0]): (int(row[1]), row[2]) for row in transaction.fetch(_LIVE, {"pipeline": pipeline})}
    found = {}
    for view in views:
        found[view.name], rules = live.get(view.name, (pipeline, view.rules))
        if rules != view.rules:
            raise ProtectiveStop(
                f"view {view.name} was rebuilt, or rolled back, to other SQL than this program's: its tables are now "
                f"those of {version_name(found[view.name])}, and we have merged nothing into them; start the program "
                f"that has that SQL, or rebuild the view with this one: `penstock rebuild {view.name}`"
            )
    return found


def load_live(transaction: Transaction, live: Mapping[str, int]) -> dict[Place, Stored]:
    """Return the offsets that are stored for the table versions ``live``, by view."""
    found: dict[Place, Stored] = {}
    for version in sorted(set(live.values())):
        found |= load(transaction, version, [view for view, kept in live.items() if kept == version])
    return found


def _definition(text: str) -> Definition:
    found = json.loads(text)
    return Definition(tuple(found["tables"]), found["reads"], found["shown"])
