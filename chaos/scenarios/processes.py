"""Stages that are killed, at random and at named points."""

from __future__ import annotations

from random import Random

from chaos.rig import Rig
from chaos.scenario import scenario

KILLS_APART_S = (1.5, 4.0)
QUIET_S = (1.0, 3.0)


@scenario("kill-processors", kind="processes", fault="SIGKILL of processors, 1.5 to 4 s apart, three a round")
def kill_processors(rig: Rig, rng: Random) -> None:
    """Two processors; each kill hits one of them."""
    rig.begin()
    rig.start("process", 2)
    rig.start("materialize")
    rig.load()
    rig.settled()
    for _ in rig.rounds(3):
        for _ in range(3):
            rig.kill(rng.choice(rig.names("process")))
            rig.wait(rng.uniform(*KILLS_APART_S))
        rig.recovered(what="processors after the last kill", sides=("processors",))
    rig.finish()
