"""Scenarios: what is done to a pipeline under load, declared once.

A scenario is a function of a rig and a seeded random generator, in a module of :mod:`chaos.scenarios`::

    @scenario("registry-down", kind="registry", fault="registry refuses connections for 5 to 10 s")
    def registry_down(rig: Rig, rng: Random) -> None:
        with Proxy(rig.registry.port) as proxy:
            rig.use(SCHEMA_REGISTRY_URL=...)      # what the stages see; optional, before `begin`
            rig.begin()                           # topics; the rig's own view stays the direct one
            rig.start("process", 2)
            rig.start("materialize", 1)
            rig.load()
            rig.settled()                         # all is up, and moves
            for _ in rig.rounds(3):
                proxy.switch("refuse")            # the fault ...
                rig.fault()                       # ... counted
                rig.kill("process-1")             # a restart meets it, too
                rig.wait(rng.uniform(5, 10))
                proxy.switch("pass")              # healed
                rig.recovered(deadline_s=60)      # measured from now, and fails after 60 s
            rig.finish()                          # load stopped, all settled, the proof, stages stopped

Recovery of a killed or paused stage is measured by the rig itself, from the moment of the kill. A scenario whose end is
a loud stop says ``ends="stopped"``, and in place of ``rig.finish()`` it ends with ``rig.stopped_as_promised(...)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from random import Random
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from chaos.rig import Rig

Kind = Literal["processes", "broker", "registry", "database", "topics"]
Ends = Literal["proved", "stopped"]
DatabaseKind = Literal["sqlite", "postgres"]
Play = Callable[["Rig", Random], None]

KINDS: tuple[Kind, ...] = ("processes", "broker", "registry", "database", "topics")


@dataclass(frozen=True)
class Scenario:
    """One fault, or several of a kind. ``fault`` is its line in the report; ``database`` None: they take turns."""

    name: str
    kind: Kind
    fault: str
    play: Play
    ends: Ends = "proved"
    database: DatabaseKind | None = None


_declared: dict[str, Scenario] = {}


def scenario(
    name: str, *, kind: Kind, fault: str, ends: Ends = "proved", database: DatabaseKind | None = None
) -> Callable[[Play], Play]:
    """Declare a scenario. Raises ValueError for a name that is taken."""

    def declare(play: Play) -> Play:
        if name in _declared:
            raise ValueError(f"two scenarios are called {name}")
        _declared[name] = Scenario(name, kind, fault, play, ends, database)
        return play

    return declare


def all_scenarios() -> dict[str, Scenario]:
    """Return all scenarios by name, those of one kind together."""
    import chaos.scenarios

    for module in iter_modules(chaos.scenarios.__path__):
        import_module(f"chaos.scenarios.{module.name}")
    return dict(sorted(_declared.items(), key=lambda item: (KINDS.index(item[1].kind), item[0])))
