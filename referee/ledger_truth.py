"""The producers' own truth, from the files that they write (``--truth``): what they sent, and meant it to become."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from penstock.errors import UsageError
from penstock.frontier import Fates


@dataclass(frozen=True)
class TopicTruth:
    """What was sent to one topic: handed to the client, acknowledged by the broker, and that by fate."""

    sent: int = 0
    acknowledged: int = 0
    fates: Fates = field(default_factory=Fates)

    def __add__(self, other: "TopicTruth") -> "TopicTruth":
        acknowledged = self.acknowledged + other.acknowledged
        return TopicTruth(self.sent + other.sent, acknowledged, self.fates + other.fates)

    def as_json(self) -> dict[str, Any]:
        """Return the truth as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Truth:
    """The truth of all runs together, by logical topic name."""

    topics: Mapping[str, TopicTruth]

    def of(self, topic: str) -> TopicTruth:
        """Return what was sent to a topic."""
        return self.topics.get(topic, TopicTruth())


def load_truth(files: Iterable[Path]) -> Truth:
    """Return the sum of what is in ``files``. Raises UsageError, which names the file that is none."""
    topics: dict[str, TopicTruth] = {}
    for file in files:
        for topic, told in _read(file).items():
            topics[topic] = topics.get(topic, TopicTruth()) + told
    return Truth(topics)


def _read(file: Path) -> dict[str, TopicTruth]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        return {str(topic): _topic(told) for topic, told in document["topics"].items()}
    except OSError as error:
        raise UsageError(f"--truth: {file} can't be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"--truth: {file} is not what a producer writes at its end ({type(error).__name__}: {error})"
        ) from None


def _topic(told: Mapping[str, Any]) -> TopicTruth:
    fates = Fates(**{entry.name: int(told["fates"].get(entry.name, 0)) for entry in fields(Fates)})
    return TopicTruth(int(told["sent"]), int(told["acknowledged"]), fates)
