"""No stage has become three times as dear as it was: CPU seconds beside a plain loop's, in one process of their own.

A machine that is slow or busy is so for both; the limits leave room for another processor and another Python.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.guard import LIMITS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.guard", "--slowed", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_no_stage_has_become_much_dearer_than_a_plain_loop(measured: dict[str, Any]) -> None:
    assert measured["above"]["ratios"] == [], measured


def test_a_stage_that_does_its_work_three_times_is_noticed(measured: dict[str, Any]) -> None:
    unnoticed = LIMITS.keys() - measured["above"]["slowed"]
    assert not unnoticed, f"{unnoticed} became so cheap that LIMITS must be lowered: {measured}"
