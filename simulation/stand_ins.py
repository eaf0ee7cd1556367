"""Small things that a stage needs beside its clients: a decoder, metrics that nobody scrapes, and a way to wait."""

from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

from penstock.avro import Decoded, Decoder
from penstock.errors import Unavailable
from penstock.topics import BY_NAME
from simulation import codec
from simulation.decoding import Shelf
from simulation.world import World

Task = Coroutine[Any, Any, Any]


class Silent:
    """Stands for the Prometheus side of a stage: takes all and shows nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return self._ignore

    def _ignore(self, *_args: object, **_labels: object) -> None:
        """Do nothing."""


def decoder_of(world: World, topic: str) -> Shelf | Decoder:
    """Return what decodes a topic in a schedule."""
    if world.plan.decode_each_batch:
        return codec.decoder(topic)
    if topic not in world.shelves:
        name = BY_NAME[topic].full_name(codec.settings())
        world.shelves[topic] = Shelf(codec.decoder(topic), lambda: world.broker.values(name))
    return world.shelves[topic]


class SimDecoder:
    """The real decoder behind a registry that is away now and then."""

    def __init__(self, world: World, topic: str) -> None:
        self._world, self._decoder = world, decoder_of(world, topic)

    def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """See :class:`penstock.avro.Decoder`."""
        world = self._world
        if world.turns < world.registry_away_until:
            world.pause("asking the registry")
            if world.turns < world.registry_away_until:
                raise Unavailable("the registry is away")
        return self._decoder.decode(values)


class Later:
    """Suspends a coroutine until its actor goes on with it."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def elsewhere(work: Callable[..., Any], *args: Any) -> Any:
    """Stand in for :func:`asyncio.to_thread`: what waits does not hold up the rest of its process."""
    await Later()
    return work(*args)


def ran_on(task: Task | None) -> Task | None:
    """Run a task until it waits; return it, or None if it ended."""
    if task is None:
        return None
    try:
        task.send(None)
    except StopIteration:
        return None
    return task
