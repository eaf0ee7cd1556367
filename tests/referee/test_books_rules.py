"""The alert rules on the books are well-formed, fire when they must and only then, and name metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from penstock import telemetry
from testbed.availability import REQUIRE, is_required

FOLDER = Path(__file__).parents[2] / "infra" / "prometheus"


@pytest.fixture
def promtool() -> str:
    """Prometheus' tool; without it the test is skipped, or fails if PENSTOCK_REQUIRE names it."""
    found = shutil.which("promtool")
    if found is None:
        why = "no promtool: apt-get install prometheus"
        if is_required("promtool"):
            pytest.fail(f"promtool is required by {REQUIRE}. {why}", pytrace=False)
        pytest.skip(why)
    return found


@pytest.mark.parametrize("arguments", [("check", "rules", "rules.yml"), ("test", "rules", "rules_test.yml")])
def test_promtool_is_content(promtool: str, arguments: tuple[str, ...]) -> None:
    ended = subprocess.run([promtool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_on_the_books_has_a_case_that_fires_and_one_that_does_not() -> None:
    cases = (FOLDER / "rules_test.yml").read_text()
    for alert in ("BooksOutOfBalance", "ViewsDisagreeWithBooks"):
        assert f"- alert: {alert}\n" in (FOLDER / "rules.yml").read_text()
        checks = re.findall(rf"alertname: {alert}\n(\s+exp_alerts:)?", cases)
        assert {bool(fires) for fires in checks} == {True, False}


def test_the_rules_name_only_metrics_that_are_declared() -> None:
    declared = {value.name for value in vars(telemetry).values() if isinstance(value, telemetry.Declared)}
    named = set(re.findall(r"\bpenstock_\w+", (FOLDER / "rules.yml").read_text()))
    assert named <= declared
