"""RELIABILITY.md says what the runs came to."""

import json
from pathlib import Path

import pytest

from chaos.report import Recovery, read_runs, recovery_of, report
from chaos.result import Result


def run_file(folder: Path, seed: int, *results: Result) -> Path:
    file = folder / f"{seed}.json"
    machine = {"cores": 2, "python": "3.11.7", "kafka": "4.3.1"}
    file.write_text(
        json.dumps({"seed": seed, "machine": machine, "scenarios": [result.as_json() for result in results]})
    )
    return file


def result(**changes: object) -> Result:
    made = Result("kill-views", "processes", "SIGKILL of views", "1:kill-views", "sqlite", "proved")
    for name, value in {"lost": 0, "doubled": 0, "folder": "/some/where", **changes}.items():
        setattr(made, name, value)
    return made


def test_the_report_sums_up_the_plays_of_all_runs(tmp_path: Path) -> None:
    times = {"consumers killed at work": [6.0, 8.0], "all, after the last kill": [99.0]}
    runs = read_runs(
        [
            run_file(tmp_path, 1, result(kills=9, events=1_000, rounds=3, recoveries_s=times)),
            run_file(tmp_path, 2, result(kills=8, events=2_000, rounds=3, zombies=1)),
        ]
    )
    told = report(runs)
    assert "| SIGKILLs of stages | 17 |" in told
    assert "| events acknowledged and proved | 3,000 |" in told
    assert "| p50 7.0 s, max 8.0 s |" in told
    assert "| events lost | **0** |" in told
    assert "kill-views: SIGKILL of views | 2 | 6 | 3,000 | 17 | 1 |" in told
    assert "/some/where" not in told


def test_the_report_does_not_call_zero_what_was_never_proved(tmp_path: Path) -> None:
    failed = result(outcome="failed", lost=None, doubled=None)
    told = report(read_runs([run_file(tmp_path, 1, failed)]))
    assert "| plays that failed | 1 |" in told
    assert "| ? | ? |" in told


def test_ends_that_nobody_asked_for_are_named(tmp_path: Path) -> None:
    told = report(read_runs([run_file(tmp_path, 1, result(exits={"process: 1": 2}))]))
    assert "| kill-views | process: 1 | 2 |" in told


@pytest.mark.parametrize(
    ("what", "whose"),
    [
        ("processors killed at work", "stages"), ("consumers frozen", "stages"), ("broker killed", "parts"),
        ("Postgres stopped", "parts"), ("processors killed while starting", "others"),
        ("consumers woken up", "others"), ("all, after the burst", "others"),
    ],
)  # fmt: skip
def test_the_median_is_that_of_who_was_hurt_at_work(what: str, whose: Recovery) -> None:
    assert recovery_of(what) == whose
