"""``python -m bench.peers``: Penstock and its peers on the same topics, in one run."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.answers import WrongAnswerError
from bench.bed import real_bed
from bench.peers.catalog import PEERS, Peer
from bench.peers.measure import Ground, measure, penstock, stock_faust
from bench.peers.outcome import RESULTS, Failure, Outcome, middle, ratios, show, write
from bench.stock_job import EVENTS as STOCK_EVENTS
from penstock.errors import PenstockError
from testbed.processes import PartError, PartUnavailableError

JOBS = {"orders": 2_000_000, "telemetry": 3_000_000}
SLOW_EVENTS = 1_000_000
OURS = "penstock"
FAUST = "faust"
NAMES = (OURS, FAUST, *(peer.name.split()[0].lower() for peer in PEERS))
_ERRORS = (PartError, PenstockError, WrongAnswerError, TimeoutError, RuntimeError)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print and write the figures. Returns 1 when a peer that can be had failed, or Penstock was wrong."""
    options = _parser().parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 200)
    run = Run(console, options)
    try:
        with real_bed(postgres=False) as bed:
            for job in options.jobs:
                run.job(partial(Ground, bed, job), job)
                if FAUST in options.only:
                    count = min(run.sizes[job], STOCK_EVENTS)
                    run.attempt("stock Faust", job, 1, partial(stock_faust, bed, job, count))
    except (PartError, PenstockError, TimeoutError) as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    show(console, run.outcomes)
    for ratio in ratios(run.outcomes, "Penstock, one metric"):
        console.print(
            f"{ratio['job']}: Penstock, one metric ÷ {ratio['peer']}: {ratio['per_cpu_second']:,} per CPU second, "
            f"{ratio['per_second']:,} by the clock"
        )
    write(options.output, run.outcomes, run.runs, run.failures, run.sizes)
    console.print(f"written to {options.output.name}")
    return 1 if any(not failure.absent for failure in run.failures) else 0


class Run:
    """What was measured so far."""

    def __init__(self, console: Console, options: argparse.Namespace) -> None:
        self._console, self._only, self._repeat = console, options.only, options.repeat
        self.sizes = {job: options.events or count for job, count in JOBS.items()}
        self.sizes |= {"slow": min(SLOW_EVENTS, options.events or SLOW_EVENTS), "repeat": options.repeat}
        self.outcomes: list[Outcome] = []
        self.runs: list[Outcome] = []
        self.failures: list[Failure] = []

    def job(self, ground_of: Callable[[int], Ground], job: str) -> None:
        """Measure one job: Penstock and those that take all events, then those that take a part."""
        chosen = [peer for peer in PEERS if peer.name.split()[0].lower() in self._only]
        whole, part = self.sizes[job], min(self.sizes[job], self.sizes["slow"])
        fast = [peer for peer in chosen if not peer.slow or part == whole]
        slow = [peer for peer in chosen if peer not in fast]
        if fast or OURS in self._only:
            ground = ground_of(whole)
            if OURS in self._only:
                for variant in ("one metric", "all metrics"):
                    self.attempt(f"Penstock, {variant}", job, self._repeat, partial(penstock, ground, variant))
            self._peers(ground, fast)
        if slow:
            self._peers(ground_of(part), slow)

    def _peers(self, ground: Ground, peers: Sequence[Peer]) -> None:
        for peer in peers:
            repeat = 1 if peer.slow else self._repeat
            self.attempt(peer.name, ground.job, repeat, partial(measure, ground, peer))

    def attempt(self, name: str, job: str, repeat: int, work: Callable[[], Outcome]) -> None:
        """Keep the median of ``repeat`` runs, or why there is none."""
        found = []
        try:
            for _ in range(repeat):
                found.append(work())
        except _ERRORS as error:
            absent = isinstance(error, PartUnavailableError)
            self.failures.append(Failure(name, job, str(error), absent))
            self._console.print(f"{job}, {name}: {'left out' if absent else 'FAILED'}: {error}", markup=False)
            return
        self.runs += found
        self.outcomes.append(chosen := middle(found))
        rate = chosen.figure.per_cpu_second
        self._console.print(f"{job}, {name}: {rate:,.0f} per CPU second; {chosen.verdict.told()}", markup=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--events", type=int, help="events of each job (default 2,000,000 orders, 3,000,000 readings)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the fast ones; the median counts (default 3)")
    parser.add_argument("--jobs", nargs="+", choices=tuple(JOBS), default=tuple(JOBS), help="these jobs alone")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="these systems alone")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the JSON goes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
