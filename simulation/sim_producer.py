"""Stands in for confluent-kafka's ``Producer``, with those of its methods that the processors call."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from simulation.world import World


@dataclass
class SimProducer:
    """A producer whose messages are on their way until the network delivers them."""

    world: World
    sender: int
    _handed: list[tuple[str, bytes, bytes]] = field(default_factory=list)

    def produce(self, topic: str, value: bytes, key: bytes, on_delivery: object = None) -> None:
        """Take a message. What is handed over at once goes off in the order of its keys, so that a seed means one
        order, whatever a hash table said."""
        self._handed.append((topic, key, value))

    def poll(self, timeout: float) -> int:
        """Send what was handed over; a crash may come in the middle of it."""
        self._send_off()
        return 0

    def flush(self, timeout: float) -> int:
        """Let messages arrive; return how many have not."""
        self._send_off()
        self.world.pause("flush", 2)
        if not self.world.broker.away:
            if self.world.calm or self.world.rng.random() < 0.6:
                self.world.network.deliver_all(self.sender)
            else:
                self.world.network.deliver_some()
        return self.world.network.in_flight(self.sender)

    def _send_off(self) -> None:
        handed, self._handed = sorted(self._handed), []
        middle = self.world.rng.randint(0, len(handed)) if handed else 0
        self._all(handed[:middle])
        if handed:
            self.world.pause("send", 2)
        self._all(handed[middle:])

    def _all(self, messages: Iterable[tuple[str, bytes, bytes]]) -> None:
        for topic, key, value in messages:
            self.world.network.send(self.sender, topic, key, value)
