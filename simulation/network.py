"""What was sent and has not arrived: each sender's messages to a partition arrive in order, some of them twice, some
after their sender has died."""

import random
from collections import deque
from typing import Protocol

from simulation.kafka import Broker, Partition

Sent = tuple[bytes, bytes]


class Chance(Protocol):
    """Who decides about faults."""

    def chance(self, kind: str, point: str) -> bool:
        """Say if a fault is injected."""


class Network:
    """The queues between producers and the broker."""

    def __init__(self, broker: Broker, rng: random.Random, faults: Chance) -> None:
        self._broker, self._rng, self._faults = broker, rng, faults
        self._queues: dict[tuple[int, Partition], deque[Sent]] = {}

    def send(self, sender: int, topic: str, key: bytes, value: bytes) -> None:
        """Put a message on its way."""
        place = sender, self._broker.partition_of(topic, key)
        self._queues.setdefault(place, deque()).append((key, value))

    def in_flight(self, sender: int | None = None) -> int:
        """Return how many messages of a sender (None: of all) are on their way."""
        return sum(len(queue) for (who, _), queue in self._queues.items() if sender in (None, who))

    def deliver_some(self) -> None:
        """Let a few messages of some queue arrive."""
        waiting = [place for place, queue in self._queues.items() if queue]
        if waiting and not self._broker.away:
            self._deliver(self._rng.choice(waiting), self._rng.randint(1, 5))

    def deliver_all(self, sender: int | None = None) -> None:
        """Let all messages of a sender (None: of all) arrive."""
        for place in list(self._queues):
            if sender in (None, place[0]):
                self._deliver(place, len(self._queues[place]))

    def orphan(self, sender: int) -> None:
        """Lose what a sender that died had not yet sent: of each queue all behind some place."""
        all_is_lost = self._rng.random() < 0.5
        for (who, _), queue in self._queues.items():
            if who == sender:
                for _ in range(len(queue) if all_is_lost else self._rng.randint(0, len(queue))):
                    queue.pop()

    def _deliver(self, place: tuple[int, Partition], count: int) -> None:
        queue = self._queues[place]
        for _ in range(min(count, len(queue))):
            key, value = queue.popleft()
            self._broker.append(place[1], key, value)
            if self._faults.chance("twice", "delivery"):
                self._broker.append(place[1], key, value)
