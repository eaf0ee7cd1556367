"""``penstock rebuild``: a view is built anew from the log beside the live one, compared with it, and swapped in.

The live view's offsets are the measure. They are read in a snapshot of the database that is held; the new build is
brought to exactly those offsets, and then its rows are compared with what the snapshot has: one cut through the log,
while the live view goes on.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from consumers import builds, swap
from consumers.builds import Build, in_state
from consumers.materialization import topics_of
from consumers.offsets import Place, Stored, load
from consumers.rebuild_build import Builder, Options, somebody_else
from consumers.rebuild_compare import Difference
from consumers.rebuild_log import LogReader
from consumers.rebuild_tables import count_rows, differences
from consumers.room import kind_of
from consumers.stores import Store, Transaction, open_store
from consumers.tables import make_registers, prepare_staging
from consumers.view_files import View, version_name
from penstock.errors import PenstockError, UsageError
from penstock.kafka import check_same_topic
from penstock.log import get_logger
from penstock.progress import Progress
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings

ROUNDS = 10
"""How often the new build is brought to where the live one is, before what is left is taken as it is."""


@dataclass
class Comparison:
    """What a rebuild found: both builds at the same ``offsets``."""

    view: str
    pipeline: int
    live: Build
    new: Build
    other_rules: bool
    """Whether the live build was made by other SQL than the new one."""
    offsets: Mapping[Place, int] = field(default_factory=dict)
    tables: list[Difference] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    """Records that could not be used, by reason."""
    lost: int = 0
    """Offsets that the log no longer holds, and so the new build neither."""

    @property
    def equal(self) -> bool:
        """Whether both builds hold the same."""
        return all(table.equal for table in self.tables)


class Rebuild:
    """One run of the command. Use it in a ``with`` block: what was built stays behind it, connections do not."""

    def __init__(
        self,
        settings: Settings,
        view: View,
        ids: SchemaIds,
        options: Options,
        connect: Callable[[Settings], Store] = open_store,
    ) -> None:
        self._settings, self._view, self._options = settings, view, options
        self._pipeline = settings.pipeline_version
        self._stack = ExitStack()
        self._store, self._watch = connect(settings), connect(settings)
        log = LogReader(settings, topics_of([view]))
        for part in (self._store, self._watch, log):
            self._stack.callback(part.close)
        self._builder = Builder(settings, view, ids, options, self._store, log)

    def __enter__(self) -> "Rebuild":
        """Nothing connects yet."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close all connections."""
        self._stack.close()

    def build(self, progress: Progress) -> Comparison:
        """Build the view beside the live one, or go on with what was begun, and compare them.

        Raises UsageError if nobody keeps the view, ProtectiveStop if the log does not hold what is needed,
        GaveUpWaiting when a part is away, and PenstockError when somebody else rebuilds the view too.
        """
        self._builder.progress = progress
        self._builder.look()
        self._sweep()
        prepare_staging(self._store, [self._view], self._pipeline)
        self._live, self._new = self._builder.database(lambda: swap.begin(self._store, self._view, self._pipeline))
        self._builder.begin(self._new.version)
        get_logger("rebuild").info(
            "building", view=self._view.name, live=version_name(self._live.version),
            new=version_name(self._new.version), goes_on=bool(self._builder.stored),
        )  # fmt: skip
        self._catch_up()
        other = self._builder.database(self._rules_of_live) != self._view.rules
        return self._compared(Comparison(self._view.name, self._pipeline, self._live, self._new, other))

    def swap(self, progress: Progress) -> list[str]:
        """Bring the new build to where the live one is now, and swap them; return which was dropped for it.

        Raises as :meth:`build`; then nothing is swapped.
        """
        self._builder.progress = progress
        self._catch_up()
        current = self._builder.current_ids()
        for name, known in self._builder.topic_ids.items():
            check_same_topic(name, known, current)
        self._builder.database(lambda: swap.swap(self._store, self._view, self._live, self._new))
        return self._sweep()

    def roll_back(self) -> tuple[Build, Build]:
        """Make the old build live again; return it, and the one that was live.

        Raises UsageError if there is none, ProtectiveStop if the log no longer holds what it has not merged.
        """
        found = self._builder.database(self._builds)
        live, old = in_state(found, "live"), in_state(found, "old")
        if live is None or old is None:
            raise UsageError(
                f"view {self._view.name} of pipeline version {self._pipeline} has no old build to go back to"
            )
        self._builder.look()
        self._builder.begin(old.version)
        self._builder.check_starts()
        self._builder.database(lambda: swap.roll_back(self._store, self._view.name, live, old))
        return old, live

    def drop(self) -> list[str]:
        """Drop all builds that are not live; return which those were."""
        return self._builder.database(lambda: swap.drop_all_but_live(self._store, self._view.name, self._pipeline))

    def _builds(self) -> Mapping[int, Build]:
        with self._store.exclusively() as transaction:
            make_registers(transaction, self._store.dialect)
            return builds.builds(transaction, self._view.name, self._pipeline)

    def _rules_of_live(self) -> str:
        with self._store.snapshot() as transaction:
            return builds.versions(transaction, self._view.name)[self._live.version].rules

    def _offsets_of_live(self) -> dict[Place, Stored]:
        with self._watch.snapshot() as transaction:
            return load(transaction, self._live.version, [self._view.name])

    def _sweep(self) -> list[str]:
        try:
            return self._builder.database(lambda: swap.drop_dropped(self._store, self._view.name, self._pipeline))
        except PenstockError as error:
            get_logger("rebuild").warning("tables that nobody needs can't be dropped yet", why=str(error))
            return []

    def _catch_up(self) -> None:
        """Bring the new build to where the live one is, as far as that holds still."""
        for _ in range(ROUNDS):
            live = self._builder.database(self._offsets_of_live)
            if self._builder.advance(self._builder.targets(live)) <= self._settings.view_batch_records:
                return

    def _compared(self, found: Comparison) -> Comparison:
        with self._watch.snapshot() as before:
            at = load(before, self._live.version, [self._view.name])
            self._builder.advance(self._builder.targets(at))
            with self._store.snapshot() as after:
                new = load(after, self._new.version, [self._view.name])
                if any(new.get(place) != stored for place, stored in at.items()):
                    raise PenstockError(somebody_else(self._view))
                found.offsets = {place: stored.next for place, stored in sorted(at.items())}
                found.tables = self._differences(before, after)
        found.skipped, found.lost = self._builder.skipped, sum(self._builder.lost.values())
        return found

    def _differences(self, before: Transaction, after: Transaction) -> list[Difference]:
        kind = kind_of(self._settings)
        sides = (before, self._live.version), (after, self._new.version)
        self._builder.expect(sum(count_rows(each, kind, self._view, version) for each, version in sides))
        return differences(
            self._view, kind, (before, self._live), (after, self._new), self._options.limit,
            lambda done: self._builder.tell(done, "comparing rows"),
        )  # fmt: skip
