"""All that can happen to processes, at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from chaos.rig import ZOMBIE_S, Rig
from chaos.scenario import scenario
from chaos.scenarios.membership import MOST_WORKERS, join_or_leave
from chaos.scenarios.processes import KILLS_APART_S, LAST_PASSING, under_load
from penstock.failpoints import POINTS

ACTIONS_A_ROUND = 7
VERIFY_EVERY = 6
"""Rounds between two proofs in the middle of it all; the first round has one."""

STAGE_OF = {"process": "processors", "materialize": "consumers"}


@scenario("mixed", kind="processes", fault="kills, failpoints, zombies, workers that come and go, poison, all at once")
def mixed(rig: Rig, rng: Random) -> None:
    """The hour of ``make soak-chaos`` is this one; with ``--minutes`` it goes on for so long."""
    under_load(rig)
    for number in rig.rounds(4):
        one_round(rig, rng)
        rig.recovered(what="all, after the last fault")
        if number % VERIFY_EVERY == 0:
            rig.verify()
    rig.finish()


def one_round(rig: Rig, rng: Random) -> None:
    """Freeze one worker for longer than its session, and hurt the others meanwhile."""
    frozen = rng.choice(rig.names("process") + rig.names("materialize"))
    rig.pause(frozen)
    wakes_up = time.monotonic() + ZOMBIE_S + rng.uniform(0, 2)
    for _ in range(ACTIONS_A_ROUND):
        hurt(rig, rng, frozen)
        if frozen and time.monotonic() > wakes_up:
            rig.resume(frozen)
            frozen = ""
        rig.wait(rng.uniform(*KILLS_APART_S))
    if frozen:
        rig.wait(wakes_up - time.monotonic())
        rig.resume(frozen)


def hurt(rig: Rig, rng: Random, spared: str) -> None:
    """Do one thing, to anybody but ``spared``."""
    command = rng.choice(("process", "process", "materialize", "materialize", "load"))
    names = [name for name in rig.names(command) if name != spared]
    if not names:
        return
    name = rng.choice(names)
    things: list[Callable[[], None]] = [lambda: rig.kill(name)] * 4
    if command != "load":
        points = [point for point in POINTS if point.startswith(STAGE_OF[command])]
        point, passing = rng.choice(points), rng.randint(1, LAST_PASSING)
        things += [lambda: rig.die_at(name, (point, passing)), lambda: rig.restart(name)]
    if len(rig.names(command)) < MOST_WORKERS and not spared:
        things.append(lambda: join_or_leave(rig, rng))
    things.append(lambda: rig.send_poison(200))
    rng.choice(things)()
