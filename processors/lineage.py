"""What the results that are already there were built from.

Kafka forgets a group's commits when a topic is deleted. Whether a source topic was recreated since this pipeline
version began can then be told by its results only: each holds the id of the topic that it came from.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from penstock.avro import Decoder
from penstock.contracts import Contract
from penstock.errors import Unavailable
from penstock.kafka import REQUEST_TIMEOUT_S, check_same_topic, client_config, partition_counts, watermark_offsets
from penstock.metrics import Metric
from penstock.schema_ids import SchemaIds
from penstock.settings import Settings
from penstock.topics import BY_NAME, Topic, group_id
from processors.outbox import FINAL_SUFFIX

_MAX_RESULT_BYTES = 4_000_000


def check_lineage(  # noqa: PLR0913  # all that it looks at
    settings: Settings,
    metrics: Sequence[Metric],
    contracts: Mapping[str, Contract],
    ids: SchemaIds,
    current: Mapping[str, str],
    client: Callable[[dict[str, Any]], Any] = Consumer,
) -> None:
    """Raise :class:`penstock.errors.ProtectiveStop` if there are results of a source topic that was recreated since.

    ``current`` holds the source topics' ids by logical name. Looks at one record of each partition of the results
    topics: no process ever adds to results of another topic id. Raises :class:`Unavailable`.
    """
    sources = {metric.name: metric.topic for metric in metrics}
    names = dict.fromkeys(metric.results + suffix for metric in metrics for suffix in ("", FINAL_SUFFIX))
    # A fetch that finds nothing more must not hold up the close; each wait here is part of every recovery.
    config = client_config(
        settings,
        group_id=group_id(settings, "processors"),
        enable_auto_commit=False,
        fetch_message_max_bytes=100_000,
        fetch_wait_max_ms=50,
    )
    consumer = client(config)
    topics = {BY_NAME[name].full_name(settings): BY_NAME[name] for name in names}
    try:
        records = _one_of_each_partition(consumer, settings, topics)
    finally:
        consumer.close()
    for name, topic in topics.items():
        own = [record for record in records if record.topic() == name]
        decoded = Decoder(topic, contracts, ids, _MAX_RESULT_BYTES).decode([record.value() for record in own])
        for frame in decoded.records.values():
            for index, topic_id in frame.select("_index", "source_topic_id").iter_rows():
                metric = (own[index].key() or b"").split(b"|")[0].decode()
                check_same_topic(sources[metric], topic_id, current)


def _one_of_each_partition(consumer: Any, settings: Settings, topics: Mapping[str, Topic]) -> list[Message]:
    """Return the first record of each partition that has one. One assignment for all: each costs a fetch's wait."""
    counts = partition_counts(consumer, settings, topics.values())
    places = [(name, number) for name, topic in topics.items() for number in range(counts[topic.name])]
    offsets = {place: watermark_offsets(consumer, *place) for place in places}
    waiting = {place: low for place, (low, high) in offsets.items() if high > low}
    records = []
    deadline = time.monotonic() + REQUEST_TIMEOUT_S
    consumer.assign([TopicPartition(*place, low) for place, low in waiting.items()])
    while waiting:
        record = consumer.poll(max(deadline - time.monotonic(), 0))
        if record is None:
            names = ", ".join(sorted({name for name, _ in waiting}))
            raise Unavailable(f"the broker did not give the results of {names} in {REQUEST_TIMEOUT_S:.0f} s")
        if record.error() is None and waiting.pop((record.topic(), record.partition()), None) is not None:
            records.append(record)
    consumer.unassign()
    return records
