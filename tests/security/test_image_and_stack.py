"""The image and the compose stack give a stage no more than it needs, as they are written."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("penstock:"))
DOCKERFILE = (ROOT / "infra" / "docker" / "Dockerfile").read_text()
FINAL_STAGE = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
HEAVY = {"polars", "confluent_kafka", "faust", "psycopg", "uvicorn", "starlette", "httpx", "fastavro", "opentelemetry"}


def test_the_image_is_built_of_every_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert {package.partition(".")[0] for package in declared} == copied


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_no_service_has_capabilities_or_can_get_more_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not service.get("privileged")
    assert not {"network_mode", "pid", "ipc", "devices"} & service.keys()
    assert not [volume for volume in service.get("volumes", ()) if "docker.sock" in str(volume)]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_only_postgres_keeps_what_its_entry_point_needs(name: str) -> None:
    kept = {"CHOWN", "DAC_OVERRIDE", "FOWNER", "SETGID", "SETUID"} if name == "postgres" else set()
    assert set(SERVICES[name].get("cap_add", ())) == kept


@pytest.mark.parametrize("name", OURS)
def test_a_stage_can_write_to_memory_only(name: str) -> None:
    assert SERVICES[name]["read_only"] is True
    assert {str(place).partition(":")[0] for place in SERVICES[name]["tmpfs"]} == {"/tmp", "/home/penstock"}
    assert "volumes" not in SERVICES[name]


@pytest.mark.parametrize("name", OURS)
def test_only_the_stage_that_keeps_the_views_logs_in_as_who_may_write_them(name: str) -> None:
    role = re.match(r"postgresql://(\w+):", SERVICES[name]["environment"]["DATABASE_URL"])
    assert role is not None
    assert role[1] == ("penstock_views" if name == "views" else "penstock_reader")


@pytest.mark.parametrize("name", OURS)
def test_a_health_check_of_our_image_needs_no_program_but_python(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check.get("disable") or check["test"][:2] == ["CMD", "python"]


def test_the_image_is_built_in_two_steps_and_runs_as_a_user_without_a_shell() -> None:
    assert len(re.findall(r"^FROM ", DOCKERFILE, re.MULTILINE)) == 2
    assert "--require-hashes" in DOCKERFILE
    assert re.findall(r"^USER (.*)$", FINAL_STAGE, re.MULTILINE) == ["10001:10001"]
    assert "/usr/sbin/nologin" in FINAL_STAGE
    assert re.search(r'^ENTRYPOINT \["penstock"\]$', FINAL_STAGE, re.MULTILINE)
    assert not re.search(r"pip install|apt-get|curl|wget|^ADD ", FINAL_STAGE, re.MULTILINE)
    assert not re.search(r"PASSWORD|SECRET|TOKEN", DOCKERFILE)


def test_the_command_line_starts_without_the_libraries_that_only_some_commands_need() -> None:
    """What makes a container start soon: polars, Kafka, Faust are imported by the command that runs."""
    code = "import sys; from penstock.cli import build_app; build_app(); print(*{m.split('.')[0] for m in sys.modules})"
    said = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True, timeout=60)
    assert "penstock" in said.split()
    assert not HEAVY & set(said.split())
