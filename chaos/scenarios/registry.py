"""A registry that is away in every way, and a schema that gets newer on the way."""

from __future__ import annotations

import os
from random import Random
from typing import get_args

from chaos.newer_build import REPOSITORY, make_newer_build
from chaos.parts import moving, says_it_waits, through
from chaos.rig import Rig
from chaos.scenario import scenario
from testbed.proxy import Mode, Proxy

AWAY: tuple[Mode, ...] = tuple(mode for mode in get_args(Mode) if mode != "pass")


@scenario("registry-away", kind="registry", fault="the registry refuses connections, answers 500, hangs")
def registry_away(rig: Rig, rng: Random) -> None:
    """Stages that start then wait for it; those that run wait as soon as they meet an id that they don't know.

    Broken records with ids that nobody knows come all the time: no such record is dead before the registry has said so.
    And when the fault is *error*, a record type that the stages have never met begins to come.
    """
    with Proxy(rig.shared.registry.port) as proxy:
        rig.begin()
        direct = rig.pipeline.parts.registry_url
        rig.load(topics=("orders",), poison=0.03)
        rig.use(SCHEMA_REGISTRY_URL=through(rig.shared.registry.port, direct, proxy.port))
        stages = [*rig.start("process", 2), *rig.start("materialize")]
        moving(rig)
        for number in rig.rounds(len(AWAY)):
            mode = AWAY[number % len(AWAY)]
            proxy.switch(mode)
            rig.fault()
            if mode == "error" and number < len(AWAY):
                rig.use(SCHEMA_REGISTRY_URL=direct).load(topics=("telemetry",), poison=0.03)
            for name in stages[number % 2 :: 2]:  # process-1 and the views, or process-2: the others run on
                rig.crew.kill(name)  # what they need to recover is not there: it is measured from when it is
            for name in stages:
                says_it_waits(rig, name, "registry")
            rig.wait(rng.uniform(0, 1))
            proxy.switch("pass")
            rig.recovered(what=f"registry: {mode}")
        rig.finish()


@scenario("newer-schema", kind="registry", fault="a newer schema version in the middle of the stream")
def newer_schema(rig: Rig, rng: Random) -> None:
    """This build stops (exit code 4) at the first record with it; a newer build goes on, and nothing is lost."""
    rig.begin()
    stages = [*rig.start("process"), *rig.start("materialize")]
    load = rig.load()
    moving(rig)
    newer = make_newer_build(rig.folder / "newer-build")
    # From here on every command and every stage that is started is of the newer build.
    rig.pipeline.use(PYTHONPATH=os.pathsep.join((str(newer), str(REPOSITORY))))
    for words in (("schemas", "lock"), ("schemas", "check"), ("schemas", "register")):
        rig.pipeline.run(*words)
    rig.restart(load)
    rig.fault()
    rig.stopped_as_promised("this build does not know: it is newer", names=stages)
    rig.wait(rng.uniform(0, 2))
    rig.start("process")
    rig.start("materialize")
    rig.recovered(what="newer build started")
    rig.finish()
    rig.result.rounds = 1
