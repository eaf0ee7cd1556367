"""``python -m simulation``: run schedules, or one of them again."""

import argparse
import os
import sys
import time
from contextlib import nullcontext

from simulation.mutants import mutants, mutated, table
from simulation.plan import plan_of
from simulation.schedule import Outcome, prepare_process, run
from simulation.shrink import Cut, shrink
from simulation.soak import ENVIRONMENT, Tally, outcomes

_SHOWN = 5


def main() -> int:
    """Run what the command line says; return the exit code."""
    if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
        # The seed of Python's hashes is read when it starts.
        os.execve(sys.executable, [sys.executable, "-m", "simulation", *sys.argv[1:]], {**os.environ, **ENVIRONMENT})
    options = _options()
    if options.list_mutants:
        print(table(), end="")
        return 0
    return _again(options) if options.seed is not None else _many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many schedules (1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (one a core)")
    parser.add_argument("--mutant", choices=sorted(mutants()), help="break the real code first")
    parser.add_argument("--list-mutants", action="store_true", help="show the breaks, as docs/mutants.md has them")
    parser.add_argument("--seed", type=int, help="run only this schedule")
    parser.add_argument("--trace", action="store_true", help="with --seed: show each turn")
    parser.add_argument("--without", type=_numbers, default=(), help="with --seed: leave out these faults")
    parser.add_argument("--records", type=_numbers, help="with --seed: append only these records")
    parser.add_argument("--processors", type=int, help="with --seed: this many processors")
    parser.add_argument("--keepers", type=int, help="with --seed: this many processes that keep views")
    return parser.parse_args()


def _numbers(text: str) -> tuple[int, ...]:
    return () if text == "none" else tuple(int(number) for number in text.split(","))


def _many(options: argparse.Namespace) -> int:
    began, total, shown = time.monotonic(), Tally(), 0.0
    for outcome in outcomes(range(options.first, options.first + options.seeds), options.jobs, options.mutant):
        total.add(outcome)
        if outcome.violations:
            print(f"\nseed {outcome.seed} is wrong:")
            _show(outcome)
            print(f"  again: {_command(options, outcome.seed)}")
        if time.monotonic() - shown > 1 and sys.stderr.isatty():
            shown = time.monotonic()
            print(f"\r{total.schedules:,} of {options.seeds:,}, {len(total.failed)} wrong", end="", file=sys.stderr)
    total.wall_s = time.monotonic() - began
    print("\n" + "\n".join(total.lines()))
    if total.failed:
        prepare_process()
        _shrunk(options, Cut(), min(total.failed, key=lambda outcome: outcome.seed))
    return 1 if total.failed else 0


def _command(options: argparse.Namespace, seed: int) -> str:
    mutant = f" --mutant {options.mutant}" if options.mutant else ""
    return f"python -m simulation --seed {seed}{mutant}"


def _show(outcome: Outcome) -> None:
    for violation in outcome.violations[:_SHOWN]:
        print(f"  {violation}")
    if len(outcome.violations) > _SHOWN:
        print(f"  and {len(outcome.violations) - _SHOWN} more")


def _again(options: argparse.Namespace) -> int:
    prepare_process()
    cut = Cut(frozenset(options.without), options.records, options.processors, options.keepers)
    with mutated(options.mutant) if options.mutant else nullcontext() as broken:
        outcome = run(cut.of(plan_of(options.seed, broken.rates if broken else None)), traced=options.trace)
    for line in outcome.trace:
        print(line)
    if not outcome.violations:
        print(f"seed {options.seed}: right, in {outcome.turns} turns, with {len(outcome.injected)} faults")
        return 0
    print(f"seed {options.seed} is wrong:")
    _show(outcome)
    if not options.trace:
        _shrunk(options, cut, outcome)
    return 1


def _shrunk(options: argparse.Namespace, cut: Cut, outcome: Outcome) -> None:
    """Make a failing schedule small, and say how to see it."""
    with mutated(options.mutant) if options.mutant else nullcontext() as broken:
        plan = plan_of(outcome.seed, broken.rates if broken else None)
        small, failed = shrink(plan, cut, outcome)
    faults = [fault for fault in failed.injected if fault.number not in small.without]
    print(f"\nseed {outcome.seed}, made small ({len(small.of(plan).operations)} records, {len(faults)} faults):")
    for fault in faults:
        print(f"  {fault}")
    _show(failed)
    print(f"  again: {_command(options, outcome.seed)} {small.options()} --trace")


if __name__ == "__main__":
    sys.exit(main())
