"""Schedules of the simulation: whatever the order of steps and faults, the promises are kept."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulation.plan import plan_of
from simulation.soak import Tally, outcomes, tally

ROOT = Path(__file__).parents[2]
JOBS = min(os.cpu_count() or 1, 4)


def right(total: Tally) -> str:
    """Return what is wrong, with the command that shows it again."""
    return "\n".join(
        f"python -m simulation --seed {outcome.seed}: {outcome.violations[0]}" for outcome in total.failed
    )


def simulate(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "simulation", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)


def test_a_thousand_schedules_keep_the_promises() -> None:
    total = tally(range(1000), JOBS)
    assert right(total) == ""
    assert total.schedules == 1000
    often = ("crash", "zombie", "rebalance", "evict", "twice", "database set back", "log trimmed", "partitions grow")
    assert [what for what in often if total.counts[what] < 50] == []
    rare = ("topic recreated", "log trimmed past a need", "schedules that stopped as they must", "registry away")
    assert [what for what in rare if total.counts[what] < 5] == []


@pytest.mark.slow
@pytest.mark.timeout(1_800)  # nine minutes of CPU, on a busy machine
def test_five_thousand_more_keep_them_too() -> None:
    total = tally(range(1000, 6000), JOBS)
    assert right(total) == ""


def test_schedules_that_were_wrong_once_are_right() -> None:
    # Two: a topic made anew with fewer partitions. Two: a batch was staged for the next view behind a fenced merge.
    assert right(tally((22_749, 25_666, 111_903, 115_189), JOBS)) == ""


def test_a_seed_means_one_schedule() -> None:
    first, second = (
        sorted((o.seed, o.turns, o.injected, tuple(sorted(o.counts.items()))) for o in outcomes(range(20), jobs))
        for jobs in (1, 2)
    )
    assert first == second


def test_a_failing_seed_prints_the_command_that_replays_it_and_a_smaller_one() -> None:
    found = simulate("--seeds", "6", "--jobs", "1", "--mutant", "commit-p-for-r")
    assert found.returncode == 1, found.stderr
    whole, small = re.findall(r"again: python -m simulation (.*)", found.stdout)[-2:]
    for options in (whole, small.replace("--trace", "")):
        again = simulate(*shlex.split(options))
        assert (again.returncode, "R must be" in again.stdout) == (1, True), again.stdout + again.stderr
    assert "made small (" in found.stdout
    assert "--trace" in small


def test_a_trace_shows_each_turn_and_a_right_seed_ends_with_0() -> None:
    found = simulate("--seed", "3", "--trace")
    assert found.returncode == 0, found.stdout
    assert "between steps" in found.stdout
    assert found.stdout.splitlines()[-1].startswith("seed 3: right")


def test_a_bias_changes_rates_and_nothing_else() -> None:
    plain, biased = plan_of(7), plan_of(7, {"crash": 0.5})
    assert biased.rates["crash"] == 0.5
    assert replace(plain, rates={}, delivering=0.0) == replace(biased, rates={}, delivering=0.0)
