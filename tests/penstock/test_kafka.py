"""What the broker's answers about topics mean: missing, on its way, or forbidden."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError

from penstock.errors import PenstockError, Unavailable
from penstock.kafka import partition_counts
from penstock.settings import load_settings
from penstock.topics import BY_NAME


def counted(found: object, *, embedded: bool = False) -> dict[str, int]:
    """Return what is made of the answer ``found`` about topic orders."""
    settings = load_settings(embedded=embedded, run_id="test")
    client: Any = SimpleNamespace(list_topics=lambda name, timeout: SimpleNamespace(topics={name: found}))
    return partition_counts(client, settings, [BY_NAME["orders"]])


def metadata(error: int | None = None, partitions: int = 0) -> Any:
    failed = None if error is None else KafkaError(error)
    return SimpleNamespace(error=failed, partitions=dict.fromkeys(range(partitions)))


def test_partitions_are_counted() -> None:
    assert counted(metadata(partitions=3)) == {"orders": 3}


@pytest.mark.parametrize(
    ("found", "embedded"),
    [
        pytest.param(metadata(KafkaError.LEADER_NOT_AVAILABLE), False, id="without a leader yet"),
        pytest.param(metadata(KafkaError.UNKNOWN_TOPIC_OR_PART), True, id="the embedded broker makes it when asked"),
        pytest.param(metadata(), False, id="no partitions"),
        pytest.param(None, False, id="not in the answer"),
    ],
)
def test_a_topic_on_its_way_is_waited_for(found: object, embedded: bool) -> None:
    with pytest.raises(Unavailable, match="topic orders"):
        counted(found, embedded=embedded)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "does not exist: run `penstock topics create`"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "we lack a right"),
    ],
)
def test_a_missing_or_forbidden_topic_ends_the_command(error: int, said: str) -> None:
    with pytest.raises(PenstockError, match=said) as raised:
        counted(metadata(error))
    assert not isinstance(raised.value, Unavailable)
