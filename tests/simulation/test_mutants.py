"""Deliberate breaks of the rules: the simulation catches each of them, within few schedules."""

import os
from pathlib import Path

import pytest

from simulation.mutants import mutants, table
from simulation.schedule import Outcome
from simulation.soak import caught

SEEDS = 400
DOCS = Path(__file__).parents[2] / "docs" / "mutants.md"


@pytest.fixture(scope="module")
def found() -> dict[str, Outcome | None]:
    return caught(SEEDS, min(os.cpu_count() or 1, 4))


@pytest.mark.parametrize("name", mutants())
def test_the_simulation_catches(found: dict[str, Outcome | None], name: str) -> None:
    outcome = found[name]
    assert outcome is not None, f"{name} goes through {SEEDS} schedules: {mutants()[name].what}"


def test_the_list_of_mutants_is_in_step_with_the_docs() -> None:
    assert table() in DOCS.read_text(), "docs/mutants.md: put in what `python -m simulation --list-mutants` prints"
    assert len(mutants()) >= 16
