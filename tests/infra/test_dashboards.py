"""The dashboards that are checked in: made by the script, sound in structure, one style."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.grafana.board import STAGE_JOBS
from infra.grafana.build import BOARDS, FOLDER, RULES, runbooks, text_of
from infra.grafana.panels import PROMETHEUS, RUNBOOKS
from infra.grafana.queries import dashboards, filled, queries

PROVISIONING = FOLDER.parent / "provisioning"
ROOT = Path(__file__).parents[2]
MAX_PANELS = 12
FILES = sorted(FOLDER.glob("*.json"))


def panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def test_the_files_are_what_the_script_makes() -> None:
    made = {f"{board.uid}.json": text_of(board, runbooks()) for board in BOARDS}
    assert {path.name: path.read_text() for path in FILES} == made, "run python -m infra.grafana.build"


def test_there_are_four_with_names_of_their_own() -> None:
    found = dashboards()
    assert {board["title"].removeprefix("Penstock: ") for board in found} == {
        "Overview", "Stages", "Business", "Reliability",
    }  # fmt: skip
    assert len({board["uid"] for board in found}) == 4


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_is_sound(path: Path) -> None:
    board = json.loads(path.read_text())
    shown = panels(board)
    assert board["uid"] == path.stem
    assert board["schemaVersion"] >= 36
    assert 0 < len(shown) <= MAX_PANELS
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in shown:
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"][0]["value"] is None
        assert panel["targets"]
        assert {tuple(target["datasource"].items()) for target in panel["targets"]} == {tuple(PROMETHEUS.items())}
        names = [target["refId"] for target in panel["targets"]]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_panels_lie_in_the_grid_and_not_on_each_other(path: Path) -> None:
    places = [panel["gridPos"] for panel in json.loads(path.read_text())["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"{one} lies on {other}"


def test_the_data_source_that_they_name_is_provisioned_and_their_folder_is_the_providers() -> None:
    (sources,) = (yaml.safe_load(path.read_text()) for path in (PROVISIONING / "datasources").glob("*.yml"))
    assert [(source["uid"], source["type"]) for source in sources["datasources"]] == [("prometheus", "prometheus")]
    (providers,) = (yaml.safe_load(path.read_text()) for path in (PROVISIONING / "dashboards").glob("*.yml"))
    assert [provider["options"]["path"] for provider in providers["providers"]] == ["/etc/grafana/dashboards"]


def test_an_alert_is_linked_to_the_runbook_that_is_there() -> None:
    shown = [panel for board in dashboards() for panel in panels(board)]
    named = [(link, panel["description"]) for panel in shown for link in panel["links"]]
    assert len(named) > 15
    for link, description in named:
        alert = link["title"].removeprefix("Runbook: ")
        assert link["url"] == f"{RUNBOOKS}/{alert}.md"
        assert f"docs/runbooks/{alert}.md" in description
        assert (ROOT / "docs" / "runbooks" / f"{alert}.md").exists()


def test_the_dashboards_and_the_alert_mean_the_same_stages() -> None:
    assert f"up{{{STAGE_JOBS}}}" in (RULES / "stages.yml").read_text()


def test_every_query_can_be_filled_in() -> None:
    found = queries()
    assert len(found) > 45
    assert not [asked for asked in found if "$" in asked.expression]
    assert filled("rate(x{a=~\"$topic\"}[$__rate_interval])", {"topic": ".*", "__rate_interval": "1m"}) == (
        'rate(x{a=~".*"}[1m])'
    )
    with pytest.raises(ValueError, match=r"\$nobody"):
        filled("x{a=~\"$nobody\"}", {"topic": ".*"})
