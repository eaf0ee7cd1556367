"""``python -m infra.grafana.build``: write the JSON of the dashboards; ``--check`` says whether it is up to date."""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from infra.grafana.board import Board, Variable
from infra.grafana.business import BUSINESS
from infra.grafana.overview import OVERVIEW
from infra.grafana.panels import PROMETHEUS, rendered, row
from infra.grafana.reliability import RELIABILITY
from infra.grafana.stages import STAGES

BOARDS = (OVERVIEW, STAGES, BUSINESS, RELIABILITY)

FOLDER = Path(__file__).parent / "dashboards"
RULES = Path(__file__).parents[1] / "prometheus" / "rules"
SCHEMA_VERSION = 41
COLUMNS = 24


def runbooks(folder: Path = RULES) -> dict[str, str]:
    """Return the file of each alert's runbook, as its rule names it."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.yml"))]
    groups = [group for file in files for group in file.get("groups", ())]
    alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
    return {rule["alert"]: rule["annotations"]["runbook_url"] for rule in alerts}


def dashboard(board: Board, files: dict[str, str]) -> dict[str, Any]:
    """Return a dashboard's JSON. Raises KeyError for a panel that names an alert without a runbook."""
    return {
        "uid": board.uid,
        "title": board.title,
        "description": board.description,
        "tags": ["penstock"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": f"now-{board.hours}h", "to": "now"},
        "timezone": "utc",
        "templating": {"list": [_variable(variable) for variable in board.variables]},
        "links": [
            {
                "type": "dashboards", "tags": ["penstock"], "title": "Penstock", "asDropdown": False,
                "keepTime": True, "includeVars": False, "targetBlank": False,
            }
        ],
        "panels": list(_panels(board, files)),
    }  # fmt: skip


def _panels(board: Board, files: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Fill the rows from the left; what does not fit goes below."""
    number, top = 1, 0
    for title, panels in board.rows.items():
        yield row(title, number, top)
        number, top, left, height = number + 1, top + 1, 0, 0
        for panel in panels:
            if left + panel.width > COLUMNS:
                top, left, height = top + height, 0, 0
            place = {"h": panel.height, "w": panel.width, "x": left, "y": top}
            yield rendered(panel, number, place, files)
            number, left, height = number + 1, left + panel.width, max(height, panel.height)
        top += height


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.label})"
    return {
        "name": variable.name,
        "label": variable.name,
        "type": "query",
        "datasource": PROMETHEUS,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def text_of(board: Board, files: dict[str, str]) -> str:
    """Return the content of a dashboard's file."""
    return json.dumps(dashboard(board, files), indent=1, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the files, or with ``--check`` return 1 when one is not what it would be."""
    parser = argparse.ArgumentParser(prog="python -m infra.grafana.build", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when a file is out of date")
    check, files, stale = parser.parse_args().check, runbooks(), []
    for board in BOARDS:
        path, text = FOLDER / f"{board.uid}.json", text_of(board, files)
        if check and not (path.exists() and path.read_text(encoding="utf-8") == text):
            stale.append(path.name)
        elif not check:
            path.write_text(text, encoding="utf-8")
    if stale:
        sys.stderr.write(f"out of date: {', '.join(stale)}; run python -m infra.grafana.build\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
