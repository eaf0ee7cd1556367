"""The alert rules are well-formed, fire when they must and only then, name metrics that exist, and say what to do."""

import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.view_files import load_views
from penstock import telemetry
from testbed.availability import REQUIRE, is_required

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "infra" / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
CASES = sorted(PROMETHEUS.glob("tests/*.yml"))
SECTIONS = ["What it means", "First three commands", "How it ends"]
OF_OTHERS = {"penstock_build_info"}
"""Not made by a declaration: prometheus_client's Info."""

Rule = Mapping[str, Any]


def rules() -> list[Rule]:
    groups = (yaml.safe_load(path.read_text())["groups"] for path in sorted(PROMETHEUS.glob("rules/*.yml")))
    return [rule for file in groups for group in file for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}
EACH_ALERT = pytest.mark.parametrize("alert", sorted(ALERTS))


@pytest.fixture
def tool() -> Callable[..., None]:
    """Runs a program that must be content; without it the test is skipped, or fails if PENSTOCK_REQUIRE names it."""

    def run(name: str, *arguments: str | Path) -> None:
        found = shutil.which(name)
        if found is None:
            why = f"no {name}: apt-get install prometheus prometheus-alertmanager"
            if is_required(name):
                pytest.fail(f"{name} is required by {REQUIRE}. {why}", pytrace=False)
            pytest.skip(why)
        ended = subprocess.run([found, *arguments], capture_output=True, text=True, check=False, timeout=120)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    return run


def test_promtool_is_content_with_the_configuration_and_its_rules(tool: Callable[..., None]) -> None:
    tool("promtool", "check", "config", PROMETHEUS / "prometheus.yml")


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_must_and_only_then(tool: Callable[..., None], cases: Path) -> None:
    tool("promtool", "test", "rules", cases)


def test_amtool_is_content_with_the_configuration_of_alertmanager(tool: Callable[..., None]) -> None:
    tool("amtool", "check-config", ROOT / "infra" / "alertmanager" / "alertmanager.yml")


@EACH_ALERT
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(alert: str) -> None:
    tests = [test for path in CASES for test in yaml.safe_load(path.read_text())["tests"]]
    looks = [look for test in tests for look in test["alert_rule_test"] if look["alertname"] == alert]
    assert {bool(look.get("exp_alerts")) for look in looks} == {True, False}


@EACH_ALERT
def test_each_alert_says_how_bad_it_is_what_it_is_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{alert}.md"


@EACH_ALERT
def test_each_runbook_is_a_short_page_of_one_shape(alert: str) -> None:
    text = (RUNBOOKS / f"{alert}.md").read_text()
    lines = text.splitlines()
    assert lines[0] == f"# {alert}"
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 50
    commands = re.search(r"## First three commands\n\n(.*?)\n\n## ", text, re.DOTALL)
    assert commands is not None
    assert len(re.findall(r"^\d\. `[^`]+`", commands[1], re.MULTILINE)) == 3


def test_there_is_no_runbook_of_an_alert_that_is_gone() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)


def test_recording_rules_are_named_by_level_metric_and_operations() -> None:
    recorded = [rule["record"] for rule in rules() if "record" in rule]
    assert all(re.fullmatch(r"[a-z_]+:[a-z_0-9]+:[a-z_0-9]+", name) for name in recorded)
    assert len(recorded) == len(set(recorded))


def test_the_rules_name_only_metrics_that_are_declared() -> None:
    shown = {figure.name for view in load_views().values() for figure in view.figures}
    declared = {value.name for value in vars(telemetry).values() if isinstance(value, telemetry.Declared)}
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    named = {name for rule in rules() for name in re.findall(r"[\w:]*penstock_[\w:]+", rule["expr"])}
    of_histograms = {f"{name}_{ending}" for name in declared for ending in ("bucket", "count", "sum")}
    assert named <= declared | of_histograms | shown | recorded | OF_OTHERS


def test_alertmanager_knows_the_alerts_that_it_names() -> None:
    config = yaml.safe_load((ROOT / "infra" / "alertmanager" / "alertmanager.yml").read_text())
    matchers = [m for rule in config["inhibit_rules"] for m in (*rule["source_matchers"], *rule["target_matchers"])]
    for matcher in matchers:
        (names,) = re.findall(r'^alertname=~?"(.*)"$', matcher)
        for name in names.split("|"):
            assert any(re.fullmatch(name, alert) for alert in ALERTS), name


def test_no_receiver_holds_an_address_or_a_secret() -> None:
    text = (ROOT / "infra" / "alertmanager" / "alertmanager.yml").read_text()
    settings = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    assert "://" not in settings
    assert not re.search(r"(api_url|password|token|secret|credentials):", settings)


def test_the_list_of_alerts_has_each_with_its_severity() -> None:
    listed: dict[str, str] = {}
    for line in (ROOT / "docs" / "alerts.md").read_text().splitlines():
        for name in re.findall(r"\[(\w+)\]\(runbooks/\1\.md\)", line):
            listed[name] = line.split("|")[2].strip()
    assert listed == {name: rule["labels"]["severity"] for name, rule in ALERTS.items()}
