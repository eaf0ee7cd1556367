"""One run of the bench: a stage that fails costs its own figures, not those of the others."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from bench import __main__ as run
from bench.measured import Value
from bench.report import Figure


def test_a_stage_that_fails_is_told_and_the_others_are_measured_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(_bed: Any, stage: str, _sizes: dict[str, int]) -> Iterator[Figure | Value]:
        if stage == "restart":
            raise TimeoutError
        yield Figure("process orders", "one metric", 10, 1, 1) if stage == "process" else Value(stage, 1, "ms")

    monkeypatch.setattr(run, "real_bed", lambda **_parts: nullcontext())
    monkeypatch.setattr(run, "_measure", measure)
    output = tmp_path / "result.json"
    assert run.main(["--output", str(output)]) == 1
    result = json.loads(output.read_text())
    assert result["failures"] == ["restart: TimeoutError()"]
    assert [figure["stage"] for figure in result["figures"]] == ["process orders"]
    assert "memory" in [value["name"] for value in result["values"]]


def test_a_part_of_the_stages_overwrites_no_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "real_bed", lambda **_parts: nullcontext())
    monkeypatch.setattr(run, "_measure", lambda *_arguments: [Value("idle", 1, "ms")])
    monkeypatch.setattr(run, "write", lambda *_arguments: pytest.fail("it was written"))
    assert run.main(["--only", "idle"]) == 0
