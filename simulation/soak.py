"""Many schedules on several processes, and what they add up to."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from multiprocessing.pool import Pool
from typing import TYPE_CHECKING

from simulation.mutants import mutants, mutated
from simulation.plan import plan_of
from simulation.schedule import Outcome, folder_in_memory, new_folder, prepare_process, run

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

ENVIRONMENT = {"PYTHONHASHSEED": "0", "POLARS_MAX_THREADS": "1", "RUST_BACKTRACE": "0"}
"""What a process is started with: then the order of a set is always the same, and Polars has no threads to wait for."""

_CHUNK = 20


@dataclass
class Tally:
    """The sum of schedules."""

    schedules: int = 0
    turns: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take a schedule in."""
        self.schedules += 1
        self.turns += outcome.turns
        self.cpu_s += outcome.cpu_s
        self.counts += outcome.counts
        if outcome.violations:
            self.failed.append(outcome)

    def lines(self) -> list[str]:
        """Return what there is to say, in lines."""
        each_ms = 1000 * self.cpu_s / max(self.schedules, 1)
        counts = (f"  {count:9,} {what}" for what, count in sorted(self.counts.items()))
        return [
            f"{self.schedules:,} schedules, {len(self.failed)} of them wrong; {self.turns:,} turns; "
            f"{self.wall_s:.0f} s by the clock, {each_ms:.0f} ms of CPU each; among what happened:",
            *counts,
        ]


def one(seed: int, mutant: str | None = None) -> Outcome:
    """Run the schedule of a seed in this process, which is set up for it."""
    with mutated(mutant) if mutant else nullcontext() as broken:
        return run(plan_of(seed, broken.rates if broken else None))


def outcomes(seeds: Iterable[int], jobs: int, mutant: str | None = None) -> Iterator[Outcome]:
    """Run the schedules of ``seeds`` on ``jobs`` processes; they come as they end."""
    chunks = _chunks(iter(seeds))
    with _pool(jobs) as pool:
        for found in pool.imap_unordered(_several, ((chunk, mutant) for chunk in chunks)):
            yield from found


def tally(seeds: Iterable[int], jobs: int, mutant: str | None = None) -> Tally:
    """Run the schedules of ``seeds`` and add them up."""
    began, total = time.monotonic(), Tally()
    for outcome in outcomes(seeds, jobs, mutant):
        total.add(outcome)
    total.wall_s = time.monotonic() - began
    return total


def caught(limit: int, jobs: int) -> dict[str, Outcome | None]:
    """Return for each mutant the first schedule that shows it; None if none of the first ``limit`` seeds does."""
    with _pool(jobs) as pool:
        return dict(pool.imap_unordered(_first_caught, ((name, limit) for name in mutants())))


def _first_caught(work: tuple[str, int]) -> tuple[str, Outcome | None]:
    name, limit = work
    return name, next((outcome for outcome in (one(seed, name) for seed in range(limit)) if outcome.violations), None)


def _chunks(seeds: Iterator[int]) -> Iterator[Sequence[int]]:
    while chunk := list(islice(seeds, _CHUNK)):
        yield chunk


@contextmanager
def _pool(jobs: int) -> Iterator[Pool]:
    """Give processes that are set up for schedules, and remove what they leave."""
    os.environ.update(ENVIRONMENT)
    context = get_context("spawn")
    numbers = context.Value("i", os.getpid())  # so that two soaks of one process each take two cores
    with folder_in_memory() as folder, context.Pool(jobs, _prepare, (folder, numbers)) as pool:
        yield pool


def _prepare(folder: str, numbers: "Synchronized[int]") -> None:
    _stay_on_one_core(numbers)
    prepare_process()
    new_folder(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Polars reports each panic of its own there, caught or not


def _stay_on_one_core(numbers: "Synchronized[int]") -> None:
    """Keep this process's threads, of which one runs at a time, on one core: handing over then takes half the time."""
    if not hasattr(os, "sched_setaffinity"):
        return
    with numbers:
        number = numbers.value
        numbers.value += 1
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[number % len(cores)]})


def _several(work: tuple[Sequence[int], str | None]) -> list[Outcome]:
    seeds, mutant = work
    return [one(seed, mutant) for seed in seeds]
