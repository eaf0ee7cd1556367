"""Devices: the list, and one with its readings of the last hour."""

from collections.abc import Sequence
from http import HTTPStatus
from itertools import groupby
from typing import Any

from consumers.serving.endpoints import Arguments, Endpoint, Field, Parameter, record, reference, schema_of
from consumers.serving.kinds import Reading, Said, Text, Time, Whole
from consumers.serving.look import Look
from consumers.serving.pages import CURSOR, LIMIT, Key, after_cursor, page, page_schema
from consumers.serving.problems import Problem
from consumers.stores import Row

RECENT_MS = 3_600_000
MAX_RECENT = 1_000

_DEVICE = (
    Field("device_id", Said()),
    Field("connected_at", Time(), "When it last came online.", "connected_at_ms", nullable=True),
    Field("firmware", Said(), nullable=True),
    Field("battery_percent", Whole(0, 100), "Charge that was left when it last warned.", nullable=True),
    Field("battery_low_at", Time(), "When it last warned of a low battery.", "battery_low_at_ms", nullable=True),
)
_SENSOR = (
    Field("sensor", Said()),
    Field("value", Reading(), "The newest reading.", "value_e6"),
    Field("unit", Said()),
    Field("reading_at", Time(), "When it was taken.", "reading_at_ms"),
)
_RECENT = (
    Field("sensor", Said()),
    Field("window_start", Time(), "A minute."),
    Field("readings", Whole(0)),
    Field("mean", Reading()),
    Field("min", Reading()),
    Field("max", Reading()),
)
_KEY = (Key("device_id", str),)
_COLUMNS = ", ".join(item.source for item in (*_DEVICE, *_SENSOR))

_MINUTES = """SELECT sensor, window_start, CAST(sum(readings) AS BIGINT),
  CAST(sum(sum_e6) AS DOUBLE PRECISION) / sum(readings), min(min_e6), max(max_e6)
FROM {telemetry_metrics} WHERE window_start > :since AND device_id = :device_id
GROUP BY window_start, sensor ORDER BY window_start DESC, sensor LIMIT :rows"""


def _objects(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Return devices from their rows, one a sensor, in the order of devices."""
    width = len(_DEVICE)
    return [
        record(_DEVICE, group[0][:width])
        | {"sensors": [record(_SENSOR, row[width:]) for row in group if row[width] is not None]}
        for group in (list(rows) for _, rows in groupby(rows, key=lambda row: row[0]))
    ]


def _list(look: Look, arguments: Arguments) -> dict[str, Any]:
    conditions = {
        "sensor": "sensor = :sensor", "battery_low_since": "battery_low_at_ms >= :battery_low_since",
    }  # fmt: skip
    bound = {name: arguments[name] for name in conditions if arguments[name] is not None}
    asked = [conditions[name] for name in bound]
    after = after_cursor(arguments, _KEY)
    if after is not None:
        asked.append("device_id > :after")
        bound["after"] = after[0]
    where = f" WHERE {' AND '.join(asked)}" if asked else ""
    ids = look.rows(
        "devices", f"SELECT DISTINCT device_id FROM devices{where} ORDER BY device_id LIMIT :rows",  # noqa: S608
        {**bound, "rows": arguments["limit"] + 1},
    )  # fmt: skip
    if not ids:
        return page("/api/devices", [], [], arguments)
    sql = (
        f"SELECT {_COLUMNS} FROM devices WHERE device_id >= :first AND device_id <= :last "  # noqa: S608
        "ORDER BY device_id, sensor"
    )
    wanted = {row[0] for row in ids}
    rows = look.rows("devices", sql, {"first": ids[0][0], "last": ids[-1][0]})
    found = _objects([row for row in rows if row[0] in wanted])
    return page("/api/devices", found, [(item["device_id"],) for item in found], arguments)


def _read(look: Look, arguments: Arguments) -> dict[str, Any]:
    asked = {"device_id": arguments["device_id"]}
    sql = f"SELECT {_COLUMNS} FROM devices WHERE device_id = :device_id ORDER BY sensor"  # noqa: S608
    rows = look.rows("devices", sql, asked)
    if not rows:
        raise Problem(HTTPStatus.NOT_FOUND, f"there is no device {arguments['device_id']!r} in the view")
    newest = look.newest_window("telemetry_metrics") if look.has("telemetry_metrics") else None
    recent: Sequence[Row] = ()
    if newest is not None:
        bound = {**asked, "since": newest - RECENT_MS, "rows": MAX_RECENT}
        recent = look.rows("telemetry_metrics", _MINUTES, bound)
    return {**_objects(rows)[0], "recent": [record(_RECENT, row) for row in recent]}


def _schema(more: dict[str, Any]) -> dict[str, Any]:
    schema = schema_of(_DEVICE, "A device, and the newest reading of each of its sensors.")
    properties = {"sensors": {"type": "array", "items": reference("Sensor")}, **more}
    return {
        **schema,
        "required": [*schema["required"], *properties],
        "properties": {**schema["properties"], **properties},
    }


ENDPOINTS = (
    Endpoint(
        "/api/devices", "listDevices", "Devices as they are now, late events included; ordered by their id.",
        (
            Parameter("sensor", Text(), "Only with this sensor."),
            Parameter("battery_low_since", Time(), "Only those that warned of a low battery at this time or later."),
            LIMIT, CURSOR,
        ),
        page_schema("Device"), _list,
        {"Device": _schema({}), "Sensor": schema_of(_SENSOR, "The newest reading of a sensor.")},
    ),
    Endpoint(
        "/api/devices/{device_id}", "getDevice",
        "One device, with its readings by minute of the newest hour, newest first.",
        (Parameter("device_id", Text(), "The device's id.", in_path=True),),
        reference("DeviceWithReadings"), _read,
        {
            "DeviceWithReadings": _schema({"recent": {"type": "array", "items": reference("RecentMinute")}}),
            "RecentMinute": schema_of(_RECENT, "A minute's readings of one sensor."),
        },
    ),
)  # fmt: skip
