"""Pipelines under a live load: a producer that runs beside the stages, and the books that must hold what it sent."""

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from bench.answers import WrongAnswerError, ends, frontiers, processors_reader
from bench.bed import PENSTOCK, Bed
from bench.watch import Watched
from penstock.frontier import Frontier
from penstock.settings import Settings
from penstock.topics import BY_NAME, PARTITIONS

LOOK_S = 1.0
"""How often the CPU of long-lived processes is looked at: looking costs."""


class Live(NamedTuple):
    """A producer that runs, and the file of its truth."""

    watched: Watched
    truth_file: Path

    def finish(self, lasts_s: float = 0.0) -> None:
        """Wait for its end, which is to come after about ``lasts_s``. Raises RuntimeError when it failed."""
        if code := self.watched.wait(lasts_s):
            raise RuntimeError(f"penstock produce ended with {code}\n{self.watched.said_last()}")

    def truth(self) -> dict[str, dict[str, Any]]:
        """Return what it sent, by topic, once it has ended."""
        found: dict[str, dict[str, Any]] = json.loads(self.truth_file.read_text())["topics"]
        return found


@contextmanager
def producing(bed: Bed, prefix: str, *arguments: str) -> Iterator[Live]:
    """Run ``penstock produce`` while the block runs; it is told to end at the block's end."""
    truth = bed.folder / f"truth-{secrets.token_hex(3)}.json"
    command = [*PENSTOCK, "produce", *arguments, "--truth", str(truth)]
    with bed.watch("produce", command, bed.environment(prefix), LOOK_S) as watched:
        yield Live(watched, truth)


class Books:
    """What the processors have committed of some topics (logical names)."""

    def __init__(self, settings: Settings, topics: Sequence[str]) -> None:
        self._settings = settings
        self._topics = {name: BY_NAME[name].full_name(settings) for name in topics}
        self._consumer = processors_reader(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def log_end(self) -> int:
        """Return how many records the topics hold."""
        return sum(sum(ends(self._consumer, topic).values()) for topic in self._topics.values())

    def position(self) -> int:
        """Return how many are settled."""
        return sum(frontier.position for _, frontier in self.committed().values())

    def committed(self) -> dict[tuple[str, int], tuple[int, Frontier]]:
        """Return where a restart reads from, and the frontier, by topic and partition."""
        return {
            (name, partition): found
            for name, topic in self._topics.items()
            for partition, found in frontiers(self._settings, self._consumer, topic).items()
        }

    def settled(self) -> bool:
        """Whether all are."""
        return self.position() == self.log_end()

    def check(self, what: str, *truths: dict[str, dict[str, Any]]) -> int:
        """Return how many events were applied. Raises WrongAnswerError unless the fates are as the producers meant."""
        applied = 0
        for name in self._topics:
            found = [frontier for (topic, _), (_, frontier) in self.committed().items() if topic == name]
            wanted = {
                fate: sum(truth[name]["fates"][fate] for truth in truths if name in truth)
                for fate in ("applied", "duplicate", "late", "dead", "control")
            }
            given = {fate: sum(getattr(one.fates, fate) for one in found) for fate in wanted}
            if given != wanted or any(one.imbalance for one in found) or len(found) != PARTITIONS:
                raise WrongAnswerError(f"{what}: {name}: the producers sent {wanted}, the books say {given}")
            applied += given["applied"]
        return applied
