"""Workers that come and go in order, and input that is no good."""

from __future__ import annotations

from random import Random

from chaos.rig import Rig
from chaos.scenario import scenario
from chaos.scenarios.processes import kill_some, under_load

MOST_WORKERS = 3
POISON_RECORDS = 3_000


@scenario(
    "workers-join-and-leave", kind="processes", fault="processors and view consumers join and leave every 1 to 3 s"
)
def workers_join_and_leave(rig: Rig, rng: Random) -> None:
    """One to three of each; who leaves commits what is settled."""
    under_load(rig, processors=1, views=1)
    for _ in rig.rounds(8):
        join_or_leave(rig, rng)
        rig.wait(rng.uniform(1, 3))
    rig.recovered(what="all, after the last change")
    rig.finish()


def join_or_leave(rig: Rig, rng: Random) -> None:
    """Have a worker more, or one less."""
    command = rng.choice(("process", "materialize"))
    names = rig.names(command)
    if len(names) == 1 or (len(names) < MOST_WORKERS and rng.random() < 0.5):
        rig.start(command)
    else:
        rig.leave(rng.choice(names))


@scenario("rolling-restart", kind="processes", fault="SIGTERM and a new start of every stage, one after the other")
def rolling_restart(rig: Rig, rng: Random) -> None:
    """As an upgrade does it; the producer is one of them, and loses nothing that it has sent."""
    under_load(rig)
    for _ in rig.rounds(2):
        for name in rig.names():
            rig.restart(name)
            rig.wait(rng.uniform(0.5, 1.5))
        rig.recovered(what="all, after the last start")
    rig.finish()


@scenario("poison-bursts", kind="processes", fault="bursts of 3,000 records that can't be used, in a moment; kills")
def poison_bursts(rig: Rig, rng: Random) -> None:
    """Each of them is kept once among the dead letters, and its neighbours count."""
    under_load(rig)
    for _ in rig.rounds(3):
        rig.send_poison(POISON_RECORDS)
        kill_some(rig, rng, ["process", "materialize"], 2)
        rig.recovered(what="all, after the burst")
    rig.finish()
