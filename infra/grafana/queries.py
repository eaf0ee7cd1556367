"""What the dashboards ask Prometheus, as Grafana would send it with all variables at *All*."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "dashboards"
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+),\s*(?P<label>\w+)\)$")
_LEFT_OVER = re.compile(r"\$\w+|\$\{|\[\[")


class Asked(NamedTuple):
    """A query, and where it stands: dashboard and panel (or variable)."""

    place: str
    expression: str


def dashboards(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """Return the dashboards, as they are provisioned."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def queries(rate_interval: str = "30s") -> list[Asked]:
    """Return every query of every dashboard, those of the variables among them.

    Raises ValueError for one with a variable that is not declared.
    """
    return [asked for dashboard in dashboards() for asked in _queries(dashboard, rate_interval)]


def _queries(dashboard: dict[str, Any], rate_interval: str) -> Iterator[Asked]:
    variables = dashboard["templating"]["list"]
    values = {"__rate_interval": rate_interval} | {variable["name"]: variable["allValue"] for variable in variables}
    for variable in variables:
        found = _LABEL_VALUES.match(variable["definition"])
        if found is None:
            raise ValueError(f"{dashboard['title']}: {variable['definition']} is not label_values(SERIES, LABEL)")
        expression = f"count by ({found['label']}) ({found['series']})"
        yield Asked(f"{dashboard['title']}: ${variable['name']}", expression)
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            place = f"{dashboard['title']}: {panel['title']} ({target['refId']})"
            yield Asked(place, filled(target["expr"], values, place))


def filled(expression: str, values: dict[str, str], place: str = "") -> str:
    """Return ``expression`` with its variables replaced. Raises ValueError when one is unknown."""
    for name in sorted(values, key=len, reverse=True):
        expression = expression.replace(f"${name}", values[name])
    if _LEFT_OVER.search(expression):
        raise ValueError(f"{place}: {expression} names a variable that is not declared")
    return expression
