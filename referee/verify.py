"""``penstock verify``: recompute every view from the topics and compare every row, at a consistent cut."""

import tempfile
import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from threading import Event

from penstock.errors import Unavailable
from penstock.garbage import collecting_rarely
from penstock.kafka import check_same_topic
from penstock.progress import Progress, Silent
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import SOURCES
from penstock.waiting import wait_for
from referee import letters as letter_views
from referee import metric_tables, relations
from referee.compare import Differences
from referee.cut import Cut, CutReader
from referee.database import open_database
from referee.jobs import Jobs
from referee.metric_tables import MetricTable
from referee.report import Verdict
from referee.scope import Scope
from referee.snapshot import Snapshot
from referee.topic_trial import Case, Findings, TopicTrial

EVERYTHING = Scope()


def verify(  # noqa: PLR0913  # what to verify, and how to tell of it
    settings: Settings,
    ids: SchemaIds,
    timeout_s: float,
    scope: Scope = EVERYTHING,
    progress: Progress | None = None,
    stopping: Event | None = None,
) -> Verdict:
    """Return the verdict on the views in ``scope`` of the pipeline version in ``settings``.

    Reads the log of each source partition once, piece by piece, and holds the rows of open panes; what may be more
    (entities, event ids) goes to a temporary folder that is removed at the end.

    Raises GaveUpWaiting when within ``timeout_s`` a part did not answer, or the views did not get as far as the
    processors have committed, or when ``stopping`` is set; ProtectiveStop when a topic was recreated or the
    configuration is another.
    """
    deadline = time.monotonic() + timeout_s
    with closing(CutReader(settings)) as reader:
        cut = wait_for("the processors' commits", reader.read, timeout_s=timeout_s, stopping=stopping)
    left_s = max(0.1, deadline - time.monotonic())
    behind = partial(snapshot_behind, settings, cut, scope)
    with closing(wait_for("the views", behind, timeout_s=left_s, stopping=stopping)) as snapshot:
        began = time.monotonic()
        with collecting_rarely(), tempfile.TemporaryDirectory(prefix="penstock-verify-") as folder:
            case = Case(settings, ids, cut, snapshot, scope, Path(folder), progress or Silent())
            found = compare_all(case, max(timeout_s, 1.0), stopping)
        return verdict(case, found, time.monotonic() - began)


def compare_all(case: Case, patience_s: float, stopping: Event | None) -> Findings:
    """Compare everything in scope, as many jobs at a time as there are topics: they share nothing but the snapshot."""
    topics = [topic.name for topic in SOURCES if case.scope.reads(topic.name)]
    with ExitStack() as stack:
        trials = [stack.enter_context(closing(TopicTrial(topic, case, patience_s))) for topic in topics]
        case.progress.begin(sum(trial.offsets for trial in trials))
        jobs = stack.enter_context(Jobs[Findings](len(trials)))
        for trial in trials:
            stack.callback(trial.stop)
            jobs.add(trial.read, then=trial.jobs)
        for table in case.scope.tables:
            jobs.add(partial(check_relations, case, table))
        found = Findings.of_all(jobs.results(stopping))
    check_strays(case, found.differences)
    found.differences.sort()
    return found


def check_relations(case: Case, table: MetricTable) -> Findings:
    """Hold the relations for people that are made from a table against it."""
    found = Findings()
    if table.view in case.snapshot.shown():
        relations.check_metric(table, case.snapshot, case.scope.whole_from_ms, found.differences)
    return found


def check_strays(case: Case, differences: Differences) -> None:
    """Look for rows of partitions that do not exist."""
    places, scope = list(case.cut.frontiers), case.scope
    for name in dict.fromkeys(table.name for table in scope.tables):
        sharing = [table for table in scope.tables if table.name == name]
        known = [t.place(number) for t in sharing for topic, number in places if topic == t.metric.topic]
        metric_tables.check_strays(sharing[0], case.snapshot, known, differences)
    known_letters = [(case.cut.topic_ids[topic], number) for topic, number in places]
    for letters in scope.letters:
        letter_views.check_strays(letters, case.snapshot, known_letters, differences)


def verdict(case: Case, found: Findings, seconds: float) -> Verdict:
    """Return what was found, in ``seconds``."""
    settled = sum(book.settled for book in found.books)
    return Verdict(
        found.differences, found.books, dict(sorted(found.rows.items())), found.events, seconds,
        found.gone / settled if settled else 0.0, case.settings.accept_trimmed_log,
        dict(sorted(found.split_ids.items())), case.scope, dict(sorted(found.left_out.items())), found.most_rows_held,
    )  # fmt: skip


def snapshot_behind(settings: Settings, cut: Cut, scope: Scope = EVERYTHING) -> Snapshot:
    """Return a snapshot of the views that has passed ``cut``. Raises Unavailable while they have not."""
    database = open_database(settings)
    try:
        snapshot = Snapshot(database, settings.pipeline_version)
        wanted = needed(cut, scope)
        missing = {view for view, _, _ in wanted} - snapshot.views()
        if missing:
            raise Unavailable(f"{', '.join(sorted(missing))}: no such views yet; is `penstock materialize` running?")
        for (view, topic, partition), offset in wanted.items():
            topic_id, stored = snapshot.stored(view, topic, partition) or (cut.topic_ids[topic], 0)
            check_same_topic(topic, topic_id, cut.topic_ids)
            if stored < offset:
                raise Unavailable(f"view {view} has read {topic}/{partition} up to {stored}, not yet to {offset}")
    except BaseException:
        database.close()
        raise
    return snapshot


def needed(cut: Cut, scope: Scope = EVERYTHING) -> dict[tuple[str, str, int], int]:
    """Return how far each view in ``scope`` must have read each partition (view, topic, number) for ``cut``."""
    reads = [(table.view, topic) for table in scope.tables for topic in table.topics]
    reads += [(letters.view, letters.topic) for letters in scope.letters]
    ends = {
        (view, topic, partition): high if high > low else 0
        for view, topic in reads
        for (name, partition), (low, high) in cut.bounds.items()
        if name == topic
    }
    return ends | {
        (entity.view, topic, partition): frontier.position if frontier.position > cut.bounds[topic, partition][0] else 0
        for entity in scope.entities
        for (topic, partition), frontier in cut.frontiers.items()
        if topic == entity.topic
    }
