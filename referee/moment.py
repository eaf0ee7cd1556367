"""One moment of some views: a snapshot of the database that has passed a cut."""

from collections.abc import Collection

from penstock.errors import Unavailable
from penstock.kafka import check_same_topic
from penstock.settings import Settings
from referee.cut import Cut
from referee.entities import ENTITIES
from referee.letters import LETTERS
from referee.metric_tables import TABLES
from referee.snapshot import Snapshot, open_database


def snapshot_of(settings: Settings, cut: Cut, views: Collection[str]) -> Snapshot:
    """Return a snapshot in which ``views`` have read all that the frontiers of ``cut`` stand for.

    Raises Unavailable while they have not, ProtectiveStop where a topic was recreated. Close it when done.
    """
    database = open_database(settings)
    try:
        snapshot = Snapshot(database, settings.pipeline_version)
        missing = set(views) - snapshot.views()
        if missing:
            raise Unavailable(f"{', '.join(sorted(missing))}: no such views yet; is `penstock materialize` running?")
        for (view, topic, partition), offset in _needed(cut, views).items():
            topic_id, stored = snapshot.stored(view, topic, partition) or (cut.topic_ids[topic], 0)
            check_same_topic(topic, topic_id, cut.topic_ids)
            if stored < offset:
                raise Unavailable(f"view {view} has read {topic}/{partition} up to {stored}, not yet to {offset}")
    except BaseException:
        database.close()
        raise
    return snapshot


def _needed(cut: Cut, views: Collection[str]) -> dict[tuple[str, str, int], int]:
    """Return how far each view must have read each partition: view, logical topic, number."""
    reads = [(table.view, topic) for table in TABLES for topic in table.topics]
    reads += [(letters.view, letters.topic) for letters in LETTERS]
    ends = {
        (view, topic, partition): high if high > low else 0
        for view, topic in reads
        for (name, partition), (low, high) in cut.bounds.items()
        if view in views and name == topic
    }
    sources = {(entity.view, entity.topic) for entity in ENTITIES if entity.view in views}
    return ends | {
        (view, topic, partition): frontier.position if frontier.position > cut.bounds[topic, partition][0] else 0
        for view, source in sources
        for (topic, partition), frontier in cut.frontiers.items()
        if topic == source
    }
