"""The compose stack, as it is written: local, exact, limited, watched."""

import re
from typing import Any

import pytest
import yaml

from infra.written import ROOT, containers, ports, services, stages, targets

SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
DEFAULTS = dict(
    line.split("=", 1) for line in (ROOT / ".env").read_text().splitlines() if line and not line.startswith("#")
)
ALL = pytest.mark.parametrize("name", sorted(SERVICES))
ONE_SHOT = {"init", "penstock"}


@ALL
def test_only_this_machine_reaches_it(name: str) -> None:
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT\}:\d+", port)


@ALL
def test_its_image_has_an_exact_tag_in_the_environment_file(name: str) -> None:
    tag = re.fullmatch(r"[\w./-]+:\$\{(\w+_TAG)\}", SERVICES[name]["image"])
    assert tag is not None
    assert DEFAULTS[tag[1]] not in ("", "latest")


@ALL
def test_it_has_a_limit_of_memory_and_a_health_check(name: str) -> None:
    assert SERVICES[name]["mem_limit"]
    check = SERVICES[name]["healthcheck"]
    assert check.get("disable", False) == (name in ONE_SHOT)


def test_every_variable_has_a_default() -> None:
    named = set(re.findall(r"\$\{(\w+)\}", (ROOT / "docker-compose.yml").read_text()))
    assert named <= DEFAULTS.keys()
    assert {name for name in named if name.endswith("_PORT")} == set(ports())


def test_every_stage_is_watched_and_what_is_watched_is_there() -> None:
    assert {stage.service for stage in stages()} >= {"orders-producer", "processors", "views", "referee"}
    assert targets()["producers"] == 2
    assert targets()["processors"] == containers()["processors"] == 2
    assert not ONE_SHOT & services().keys()
