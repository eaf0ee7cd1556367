"""The one style of all dashboards: panels as Grafana has them in its JSON."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
"""The data source that is provisioned."""

RUNBOOKS = "/public/runbooks"
"""Where Grafana shows the runbooks: the compose stack mounts their folder there."""

GREEN, YELLOW, RED = "green", "yellow", "red"


@dataclass(frozen=True)
class Panel:
    """What a panel shows. ``warn`` and ``bad`` colour it from these values on (``low``: below them)."""

    title: str
    description: str
    unit: str
    queries: dict[str, str]
    """PromQL by what its series are called: ``{{label}}`` stands for a label's value, nothing for their own names."""
    kind: str = "timeseries"
    """``timeseries``, ``stat`` (the newest value, large) or ``bargauge`` (the newest value of each series as a bar)."""
    width: int = 8
    height: int = 8
    warn: float | None = None
    bad: float | None = None
    low: bool = False
    names: dict[str, str] = field(default_factory=dict)
    """Words in place of values, as in ``{"1": "PROVED"}``."""
    stacked: bool = False
    signed: bool = False
    """Whether values below 0 mean something."""
    decimals: int | None = None
    alerts: tuple[str, ...] = ()
    """Alerts whose runbooks are linked."""


def rendered(panel: Panel, number: int, place: dict[str, int], runbooks: dict[str, str]) -> dict[str, Any]:
    """Return the panel's JSON. ``runbooks`` are files by alert; raises KeyError for an alert that has none."""
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": _description(panel, runbooks),
        "datasource": PROMETHEUS,
        "gridPos": place,
        "targets": [_target(panel, name, at) for at, name in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _OPTIONS[panel.kind],
        "links": [
            {"title": f"Runbook: {name}", "url": f"{RUNBOOKS}/{Path(runbooks[name]).name}", "targetBlank": True}
            for name in panel.alerts
        ],
    }


def _description(panel: Panel, runbooks: dict[str, str]) -> str:
    if not panel.alerts:
        return panel.description
    watched = ", ".join(f"{name} ({runbooks[name]})" for name in panel.alerts)
    return f"{panel.description} Alert{'s' if len(panel.alerts) > 1 else ''}: {watched}."


def row(title: str, number: int, top: int) -> dict[str, Any]:
    """Return the JSON of a row's headline."""
    place = {"h": 1, "w": 24, "x": 0, "y": top}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _target(panel: Panel, name: str, at: int) -> dict[str, Any]:
    over_time = panel.kind == "timeseries"
    return {
        "refId": chr(ord("A") + at),
        "datasource": PROMETHEUS,
        "editorMode": "code",
        "expr": panel.queries[name],
        "legendFormat": name or "__auto",
        "instant": not over_time,
        "range": over_time,
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "palette-classic" if panel.kind == "timeseries" else "thresholds"},
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        "mappings": _mappings(panel),
        "noValue": "no data",
    }
    if panel.decimals is not None:
        defaults["decimals"] = panel.decimals
    if panel.kind != "stat" and not panel.signed:
        defaults["min"] = 0
    if panel.kind == "timeseries":
        has_limit = panel.warn is not None or panel.bad is not None
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if panel.stacked else "none"},
            "thresholdsStyle": {"mode": "dashed" if has_limit else "off"},
        }
    return defaults


def _steps(panel: Panel) -> list[dict[str, Any]]:
    limits = [(limit, colour) for limit, colour in ((panel.warn, YELLOW), (panel.bad, RED)) if limit is not None]
    if not panel.low:
        return [{"color": GREEN, "value": None}, *({"color": colour, "value": limit} for limit, colour in limits)]
    falling = sorted(limits, reverse=True)
    colours = [colour for _, colour in reversed(falling)] + [GREEN]
    starts = [None, *(limit for limit, _ in reversed(falling))]
    return [{"color": colour, "value": start} for colour, start in zip(colours, starts, strict=True)]


def _mappings(panel: Panel) -> list[dict[str, Any]]:
    if not panel.names:
        return []
    options = {value: {"text": text, "index": at} for at, (value, text) in enumerate(panel.names.items())}
    return [{"type": "value", "options": options}]


_NEWEST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"showLegend": True, "displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": _NEWEST, "colorMode": "background", "graphMode": "none", "justifyMode": "auto",
        "textMode": "auto", "orientation": "auto",
    },
    "bargauge": {
        "reduceOptions": _NEWEST, "displayMode": "gradient", "orientation": "horizontal", "showUnfilled": True,
        "valueMode": "color",
    },
}  # fmt: skip
