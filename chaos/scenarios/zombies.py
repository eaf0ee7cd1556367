"""Stages that are frozen for longer than their session lasts, and wake up when others have taken over."""

from __future__ import annotations

from random import Random

from chaos.rig import ZOMBIE_S, Rig
from chaos.scenario import scenario
from chaos.scenarios.processes import under_load


def freeze(rig: Rig, rng: Random, name: str) -> None:
    """Freeze a stage for longer than its session, and wake it up."""
    rig.pause(name)
    rig.wait(ZOMBIE_S + rng.uniform(0, 2))
    rig.resume(name)


@scenario("zombie-processors", kind="processes", fault="SIGSTOP of one of two processors past its session, SIGCONT")
def zombie_processors(rig: Rig, rng: Random) -> None:
    """What the zombie still sends and commits changes no number."""
    under_load(rig, views=1)
    for _ in rig.rounds(3):
        freeze(rig, rng, rng.choice(rig.names("process")))
        rig.wait(rng.uniform(0.5, 2))
        rig.recovered(what="all, after the zombie woke up")
    rig.finish()


@scenario("zombie-views", kind="processes", fault="SIGSTOP of one of two view consumers past its session, SIGCONT")
def zombie_views(rig: Rig, rng: Random) -> None:
    """The compare-and-set of the offsets fences what the zombie still writes."""
    under_load(rig, processors=1)
    for _ in rig.rounds(3):
        freeze(rig, rng, rng.choice(rig.names("materialize")))
        rig.wait(rng.uniform(0.5, 2))
        rig.recovered(what="all, after the zombie woke up")
    rig.finish()
