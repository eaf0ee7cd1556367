"""The scheduler: actors that take turns, and what may happen to them when it is not theirs.

Each actor is a thread, of which only the holder of the baton runs. It passes the baton on at its pauses, so a schedule
follows from its seed alone. A crash is an exception raised in a pause; a zombie is an actor that is not woken up for
long, while others take over what it has.
"""

import random
import threading
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from penstock.errors import PenstockError, ProtectiveStop
from penstock.settings import Settings
from penstock.topics import Topic
from simulation.decoding import Shelf
from simulation.kafka import Broker
from simulation.network import Network
from simulation.plan import Plan

STUCK_S = 600.0
"""After this long without a turn it is the simulation that hangs."""


class Crash(BaseException):
    """The process is gone, as by SIGKILL: nothing of it runs any more but the clean-up that a kernel would do."""


@dataclass(frozen=True)
class Injected:
    """A fault that was injected: its number, which :attr:`Plan.without` may name, what, when and to whom."""

    number: int
    kind: str
    turn: int
    actor: str
    point: str

    def __str__(self) -> str:
        return f"fault {self.number} at turn {self.turn}: {self.kind} of {self.actor} at {self.point}"


@dataclass
class Stop:
    """An actor that stopped to protect the data, and why."""

    actor: str
    why: str
    calm: bool


class Actor:
    """A process that is started again when it ends. :meth:`body` is one life of it."""

    killable = True

    def __init__(self, world: "World", name: str) -> None:
        self.world, self.name = world, name
        self.baton = threading.Lock()
        self.baton.acquire()
        self.wake_at = 0
        self.doomed = False
        self.done = False
        self.member = 0
        """Its number in its group, 0 while it is in none."""

        self.thread = threading.Thread(target=self._live, name=name, daemon=True)

    def body(self) -> None:
        """Run until the end of the process."""
        raise NotImplementedError

    def clean_up(self, *, crashed: bool) -> None:
        """Do what happens to what a process had, once it is gone."""

    def _live(self) -> None:
        self.baton.acquire()
        world = self.world
        while not world.ending:
            crashed = True
            try:
                self.doomed = False
                self.body()
                crashed = False
            except Crash:
                pass
            except ProtectiveStop as stop:
                world.stops.append(Stop(self.name, str(stop), world.calm))
                world.note(f"{self.name} stops: {stop}")
            except PenstockError as error:
                world.note(f"{self.name} ends: {error}")
                world.counts["ended with an error"] += 1
            except BaseException:
                world.broken = f"{self.name}: {traceback.format_exc()}"
                world.ending = True
            self.member = 0
            self.clean_up(crashed=crashed)
            if not world.ending:
                self.wake_at = world.turns + world.rng.randint(1, 40)
                world.switch(self, at_its_end=True)
        self.done = True
        world.hand_to_director()


@dataclass
class World:
    """All that a schedule consists of."""

    plan: Plan
    rng: random.Random
    broker: Broker
    trace: list[str] | None = None
    turns: int = 0
    calm: bool = False
    ending: bool = False
    broken: str = ""
    registry_away_until: int = 0
    database_away_until: int = 0
    writer: object = None
    stops: list[Stop] = field(default_factory=list)
    injected: list[Injected] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    actors: list[Actor] = field(default_factory=list)
    shelves: dict[str, Shelf] = field(default_factory=dict)
    _members: int = 0

    def __post_init__(self) -> None:
        self.network = Network(self.broker, self.rng, self)
        self.director = Actor(self, "the director")
        self.director.killable = False
        self.running: Actor = self.director

    # Turns

    def seconds(self) -> float:
        """Return the monotonic time of all processes."""
        return self.turns * 0.05

    def pause(self, point: str, weight: int = 1) -> None:
        """Let others run; here the running actor may crash or fall asleep, ``weight`` times as likely as elsewhere."""
        me = self.running
        self.turns += 1
        if self.trace is not None:
            self.note(f"{me.name}: {point}")
        if me.killable and not self.calm:
            if self.chance("crash", point, weight):
                raise Crash
            if self.chance("zombie", point, weight):
                me.wake_at = self.turns + self.rng.choice((40, 100, 300))
        if self.rng.random() < self.plan.delivering:
            self.network.deliver_some()
        if me.wake_at > self.turns or self.rng.random() < self.plan.switching:
            self.switch(me)

    def switch(self, me: Actor, *, at_its_end: bool = False) -> None:
        """Give the baton to some actor that is ready; return when it is ``me`` again."""
        while not (ready := [actor for actor in self.everybody() if not actor.done and actor.wake_at <= self.turns]):
            self.turns += 1
        chosen = self.rng.choice(ready)
        if chosen is not me:
            self.hand(chosen)
            self._wait(me)
        if me is self.director or at_its_end:
            return
        if self.ending or me.doomed:
            raise Crash

    def everybody(self) -> Iterable[Actor]:
        """Return who takes turns."""
        return (self.director, *self.actors)

    def hand(self, actor: Actor) -> None:
        """Let ``actor`` go on."""
        self.running = actor
        actor.baton.release()

    def hand_to_director(self) -> None:
        """Let the director go on, from an actor that has ended."""
        self.hand(self.director)

    def _wait(self, actor: Actor) -> None:
        if not actor.baton.acquire(timeout=STUCK_S) and not self.ending:
            self.broken = f"{actor.name} waited for {STUCK_S:.0f} s: {self.running.name} does not pause"
            self.ending = True

    def start(self, actors: Iterable[Actor]) -> None:
        """Start the actors; each waits for its first turn."""
        self.actors = list(actors)
        for actor in self.actors:
            actor.thread.start()

    def end(self) -> None:
        """End all actors: none does anything more."""
        self.ending = True
        for actor in self.actors:
            if not actor.done:
                self.hand(actor)
                self._wait(self.director)
            actor.thread.join(STUCK_S)

    def topic_ids(self, settings: Settings, topics: Iterable[Topic]) -> dict[str, str]:
        """Stand in for :func:`penstock.kafka.topic_ids`."""
        self.pause("asking for topic ids")
        return self.broker.topic_ids(settings, topics)

    # Faults

    def chance(self, kind: str, point: str, weight: int = 1, actor: str = "") -> bool:
        """Say if a fault is injected here and now."""
        rate = self.plan.rates.get(kind, 0.0)
        if self.calm or not rate or self.rng.random() >= rate * weight:
            return False
        number = len(self.injected)
        self.injected.append(Injected(number, kind, self.turns, actor or self.running.name, point))
        if number in self.plan.without:
            return False
        self.counts[kind] += 1
        if self.trace is not None:
            self.note(f"---- {self.injected[-1]}")
        return True

    def note(self, line: str) -> None:
        """Add a line to the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.turns:5} {line}")

    def new_member(self) -> int:
        """Return a number for a member of a group, or a sender."""
        self._members += 1
        return self._members
