"""The consistent cut: up to where the processors have settled, and what the views must have read by then.

In this order: the committed frontiers; then the ends of the results and letters, which hold all that those
frontiers stand for, since a processor commits only what the broker has acknowledged; then the views, once they
have passed these ends.
"""

from dataclasses import dataclass, field

from confluent_kafka import Consumer, KafkaException, TopicPartition

from penstock.errors import ProtectiveStop, Unavailable
from penstock.frontier import Frontier
from penstock.kafka import (
    REQUEST_TIMEOUT_S,
    check_same_topic,
    client_config,
    made,
    partition_counts,
    topic_ids,
    translate,
    watermark_offsets,
)
from penstock.pipeline import NO_TIME, fingerprint
from penstock.settings import Settings
from penstock.topics import SOURCES, TOPICS, Topic, group_id

Place = tuple[str, int]
"""A partition: logical topic name and number."""


@dataclass(frozen=True)
class Cut:
    """Frontiers by source partition, bounds of the log by any partition, topic ids by logical name.

    ``restarts``: the offset ``R`` that each frontier was committed with; none where nothing was committed yet.
    """

    frontiers: dict[Place, Frontier]
    bounds: dict[Place, tuple[int, int]]
    topic_ids: dict[str, str]
    restarts: dict[Place, int] = field(default_factory=dict)


class CutReader:
    """Asks the broker for a cut. Close it when done."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Its offsets are asked for under the group's name; it never joins the group and never commits.
        group = group_id(settings, "processors")
        self._consumer = made(Consumer, client_config(settings, group_id=group, enable_auto_commit=False))

    def read(self) -> Cut:
        """Return a cut as of now.

        Raises Unavailable while the broker is away or a partition with records has no commit yet,
        ProtectiveStop where a frontier was committed under another topic id or configuration.
        """
        ids = topic_ids(self._settings, TOPICS)
        counts = partition_counts(self._consumer, self._settings, TOPICS)
        committed = {
            (topic.name, partition): commit
            for topic in SOURCES
            for partition, commit in self._committed(topic, counts[topic.name]).items()
        }
        # Only now, behind the commits: the ends must hold all that the frontiers stand for.
        bounds = {
            (topic.name, partition): self._bounds(topic, partition)
            for topic in TOPICS
            for partition in range(counts[topic.name])
        }
        frontiers = {
            place: self._checked(place, commit[1] if commit else None, bounds[place], ids)
            for place, commit in committed.items()
        }
        return Cut(frontiers, bounds, ids, {place: commit[0] for place, commit in committed.items() if commit})

    def _committed(self, topic: Topic, partitions: int) -> dict[int, tuple[int, Frontier] | None]:
        name = topic.full_name(self._settings)
        asked = [TopicPartition(name, partition) for partition in range(partitions)]
        try:
            found = self._consumer.committed(asked, timeout=REQUEST_TIMEOUT_S)
        except KafkaException as error:
            raise translate(error) from None
        for entry in found:
            if entry.error is not None:
                raise translate(entry.error)
        return {f.partition: (f.offset, Frontier.decode(f.metadata or "")) if f.offset >= 0 else None for f in found}

    def _bounds(self, topic: Topic, partition: int) -> tuple[int, int]:
        return watermark_offsets(self._consumer, topic.full_name(self._settings), partition)

    @staticmethod
    def _checked(
        place: Place, frontier: Frontier | None, bounds: tuple[int, int], ids: dict[str, str]
    ) -> Frontier:
        (topic, partition), (low, high) = place, bounds
        if frontier is None:
            if high > low:
                raise Unavailable(
                    f"no processor has committed {topic}/{partition} yet, which holds {high - low:,} offsets: "
                    "is `penstock process` running?"
                )
            return Frontier(ids[topic], high, high, NO_TIME, fingerprint())
        check_same_topic(topic, frontier.topic_id, ids)
        if frontier.fingerprint != fingerprint():
            raise ProtectiveStop(
                f"{topic}/{partition} was folded under configuration {frontier.fingerprint}, this build has "
                f"{fingerprint()}: verify with the build that folded it"
            )
        if frontier.position > high:
            raise ProtectiveStop(
                f"{topic}/{partition} was folded up to offset {frontier.position}, but the log ends at "
                f"{high}: records that were counted are lost"
            )
        return frontier

    def close(self) -> None:
        """Leave the broker."""
        self._consumer.close()
