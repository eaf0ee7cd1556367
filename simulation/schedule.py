"""One schedule, from its plan to its verdict."""

import gc
import logging
import random
import shutil
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import stamina
import structlog

from consumers.sqlite_store import SqliteStore
from consumers.tables import prepare
from consumers.view_files import View, load_views
from simulation import codec
from simulation.actors import Keeper, Processor
from simulation.director import Director
from simulation.events import BEGAN_MS
from simulation.judge import Judge
from simulation.kafka import Broker
from simulation.plan import Plan
from simulation.world import Injected, World


@dataclass(frozen=True)
class Outcome:
    """What became of a schedule: ``violations`` of the promises, and what happened on the way."""

    seed: int
    violations: tuple[str, ...]
    counts: Counter[str]
    injected: tuple[Injected, ...]
    turns: int
    cpu_s: float
    trace: tuple[str, ...] = ()


def prepare_process() -> None:
    """Set this process up for simulating: no log lines, no seconds spent on waiting, few collections of garbage."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)  # a tenth of a schedule's time; what a schedule leaves in cycles is little
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stamina.instrumentation.set_on_retry_hooks(())
    stamina.set_testing(True, attempts=1_000_000)


@cache
def _views() -> dict[str, View]:
    return load_views()


_folders: list[tempfile.TemporaryDirectory[str]] = []


def folder_in_memory(parent: str | None = None) -> tempfile.TemporaryDirectory[str]:
    """Make a folder, in ``parent`` or else in memory where that can be had."""
    memory = Path("/dev/shm")
    where = parent or (memory if memory.is_dir() else None)
    return tempfile.TemporaryDirectory(prefix="penstock-sim-", dir=where, ignore_cleanup_errors=True)


def new_folder(parent: str | None = None) -> Path:
    """Let the databases of this process lie in a folder of its own, which goes when it ends or ``parent`` goes."""
    _folders.append(folder_in_memory(parent))
    _empty_database.cache_clear()
    return _folder()


def _folder() -> Path:
    return Path(_folders[-1].name) if _folders else new_folder()


@cache
def _empty_database() -> Path:
    """Return a database with the tables of all views and nothing in them."""
    path = _folder() / "empty.db"
    store = SqliteStore(path)
    prepare(store, _views().values(), 1)
    store.close()
    return path


def run(plan: Plan, *, traced: bool = False) -> Outcome:
    """Run the schedule of ``plan`` and judge it."""
    began = time.process_time()
    rng = random.Random(f"schedule {plan.seed}")
    database = _folder() / "views.db"
    for name in ("views.db", "views.db-wal", "views.db-shm"):
        (_folder() / name).unlink(missing_ok=True)
    shutil.copyfile(_empty_database(), database)
    world = World(plan, rng, Broker(BEGAN_MS), [] if traced else None)
    settings = codec.settings(accept_trimmed_log=bool(plan.born_trimmed))
    director = Director(world, settings, database)
    views = tuple(_views()[name] for name in plan.views)
    world.start(
        [
            *(Processor(world, f"processor {number}", settings) for number in range(plan.processors)),
            *(Keeper(world, f"keeper {number}", settings, views, database) for number in range(plan.keepers)),
        ]
    )
    try:
        director.run()
    except Exception:
        world.broken = f"the director: {traceback.format_exc()}"
    finally:
        world.end()
    violations = _verdict(world, director)
    cpu_s = time.process_time() - began
    return Outcome(
        plan.seed, violations, world.counts, tuple(world.injected), world.turns, cpu_s, tuple(world.trace or ())
    )


def _verdict(world: World, director: Director) -> tuple[str, ...]:
    if world.broken:
        return (world.broken,)
    stopped = director.ended == "stopped"
    world.counts["schedules that stopped as they must"] += stopped
    director.look()
    return tuple(Judge(director, finished=not stopped).violations())
