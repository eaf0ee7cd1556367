"""What is said of a part that can't be had: why, and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from testbed import java, postgres
from testbed.availability import missing_reason, required_parts
from testbed.java import cache_folder, fetched
from testbed.part import PartName


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Java, no Maven, no Postgres, an empty cache."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)
    monkeypatch.setattr(java, "JVM_FOLDER", tmp_path)
    monkeypatch.setattr(postgres, "BINARIES", tmp_path)


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(
    ("part", "need"), [("kafka", "Java 17"), ("registry", "Java 21"), ("postgres", "postgresql")]
)
def test_a_bare_machine_is_told_what_each_part_needs(part: PartName, need: str) -> None:
    reason = missing_reason(part)
    assert reason is not None
    assert need in reason
    assert "apt-get install" in reason


@pytest.mark.usefixtures("bare_machine")
def test_a_broker_that_runs_elsewhere_counts_as_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092")
    assert missing_reason("kafka") is None


@pytest.mark.usefixtures("bare_machine")
def test_a_java_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_java(tmp_path / "jdk", "17.0.15")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    reason = missing_reason("registry")
    assert reason is not None
    assert f"17 at {tmp_path / 'jdk' / 'bin' / 'java'}" in reason


@pytest.mark.usefixtures("bare_machine")
def test_without_maven_a_program_must_be_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_java(tmp_path / "jdk", "25")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    reason = missing_reason("registry")
    assert reason is not None
    assert "apt-get install maven" in reason
    (cache_folder() / "apicurio-registry-3.3.3").mkdir(parents=True)
    assert missing_reason("registry") is None


def test_a_fetch_that_fails_leaves_no_half_program(tmp_path: Path) -> None:
    def fails(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        fetched(tmp_path / "program", fails)
    assert not (tmp_path / "program").exists()
    assert fetched(tmp_path / "program", lambda folder: (folder / "whole").touch()).joinpath("whole").exists()


def test_required_parts_are_read_from_a_comma_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_REQUIRE", "kafka, postgres,")
    assert required_parts() == {"kafka", "postgres"}


def test_an_unknown_required_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK_REQUIRE", "kafka,mysql")
    with pytest.raises(ValueError, match="mysql"):
        required_parts()


def fake_java(home: Path, version: str) -> None:
    java_program = home / "bin" / "java"
    java_program.parent.mkdir(parents=True)
    java_program.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n", encoding="utf-8")
    java_program.chmod(0o755)
