"""Stages that are killed, at random and at named points."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from chaos.rig import Rig
from chaos.scenario import scenario
from penstock.failpoints import POINTS

KILLS_APART_S = (1.5, 4.0)
LAST_PASSING = 4
POINTS_TIMEOUT_S = 90.0
"""A failpoint kills at one of the first passings."""


def under_load(rig: Rig, processors: int = 2, views: int = 2) -> Rig:
    """Begin, start all stages and the load, and wait until all moves."""
    rig.begin()
    rig.start("process", processors)
    rig.start("materialize", views)
    rig.load()
    return rig.settled()


def kill_some(rig: Rig, rng: Random, commands: Sequence[str], count: int) -> None:
    """Kill ``count`` stages of ``commands``, one after the other, each chosen at random."""
    for _ in range(count):
        rig.kill(rng.choice(rig.names(rng.choice(commands))))
        rig.wait(rng.uniform(*KILLS_APART_S))


@scenario("kill-processors", kind="processes", fault="SIGKILL of one of two processors, twice, 1.5 to 4 s apart")
def kill_processors(rig: Rig, rng: Random) -> None:
    """A dead member's partitions wait for its session to end; panes that were open are folded again."""
    under_load(rig, views=1)
    for _ in rig.rounds(4):
        kill_some(rig, rng, ["process"], 2)
        rig.recovered(what="all, after the last kill")
    rig.finish()


@scenario("kill-views", kind="processes", fault="SIGKILL of one of two view consumers, twice, 1.5 to 4 s apart")
def kill_views(rig: Rig, rng: Random) -> None:
    """The offsets beside the rows tell where to go on."""
    under_load(rig, processors=1)
    for _ in rig.rounds(4):
        kill_some(rig, rng, ["materialize"], 2)
        rig.recovered(what="all, after the last kill")
    rig.finish()


@scenario("kill-producers", kind="processes", fault="SIGKILL of the producer, every 1.5 to 4 s")
def kill_producers(rig: Rig, rng: Random) -> None:
    """What was acknowledged before each kill is in the topic, and settled."""
    under_load(rig, processors=1, views=1)
    for _ in rig.rounds(2):
        kill_some(rig, rng, ["load"], 4)
        rig.recovered(what="all, after the last kill")
    rig.finish()


@scenario("kill-all-stages", kind="processes", fault="SIGKILL of any stage, every 1.5 to 4 s, at times of all at once")
def kill_all_stages(rig: Rig, rng: Random) -> None:
    """Two of each stage but the producer."""
    under_load(rig)
    for _ in rig.rounds(2):
        kill_some(rig, rng, ["process", "materialize", "load"], 5)
        for name in rig.names():
            rig.kill(name)
        rig.recovered(what="all, after the last kill")
    rig.finish()


def die_at_each_point(rig: Rig, rng: Random, stage: str, command: str) -> None:
    """Have a stage of ``command`` die at each of the points of ``stage``, one life after the other."""
    points = [(point, rng.randint(1, LAST_PASSING)) for point in POINTS if point.startswith(f"{stage}.")]
    rng.shuffle(points)
    kills = rig.result.kills
    rig.die_at(rng.choice(rig.names(command)), *points)
    rig.wait_for(lambda: rig.result.kills - kills == len(points), "the end at each point", POINTS_TIMEOUT_S)
    rig.recovered(what="all, after the last kill")


@scenario("failpoints-processors", kind="processes", fault="SIGKILL after send, after flush, after commit")
def failpoints_of_processors(rig: Rig, rng: Random) -> None:
    """One processor alone, so that it passes there."""
    under_load(rig, processors=1, views=1)
    for _ in rig.rounds(2):
        die_at_each_point(rig, rng, "processors", "process")
    rig.finish()


@scenario(
    "failpoints-views", kind="processes", fault="SIGKILL before the database's commit, and between it and Kafka's"
)
def failpoints_of_views(rig: Rig, rng: Random) -> None:
    """Rows and offsets change in one transaction, or neither does."""
    under_load(rig, processors=1, views=1)
    for _ in rig.rounds(2):
        die_at_each_point(rig, rng, "consumers", "materialize")
    rig.finish()
