"""Files of readings (``timestamp,value``, one file a device) as ``ReadingTaken`` events."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import PurePath
from uuid import NAMESPACE_URL, uuid5

from penstock.contracts import Contract
from penstock.errors import UsageError
from producers.csv_rows import Gathered, Row, WrongRow, parsed, rows_of, text, time_ms
from producers.events import Event

COLUMNS = ("timestamp", "value")
SOURCE = "penstock-replay"

_NAMESPACE = uuid5(NAMESPACE_URL, "penstock:replay:readings")
_MAX_VALUE = 1_000_000_000


def sensor_of(name: str, reading: Contract) -> str:
    """Return the symbol of the contract's enum that ``name`` is, in any case. Raises :class:`UsageError`."""
    (sensor,) = [field["type"] for field in reading.schema["fields"] if field["name"] == "sensor"]
    symbols: list[str] = sensor["symbols"]
    symbol = name.upper().replace("-", "_")
    if symbol not in symbols:
        raise UsageError(f"--sensor: {name!r} is none of {', '.join(symbol.lower() for symbol in symbols)}")
    return symbol


def gather(files: Iterable[tuple[str, Sequence[str]]], sensor: str, unit: str) -> Gathered:
    """Return the events of ``files`` (name and lines of each), in event-time order over all of them."""
    gathered = Gathered()
    owners: dict[str, str] = {}
    for name, lines in files:
        device_id = PurePath(name).stem
        if owners.setdefault(device_id, name) != name:
            raise UsageError(f"{name}: {owners[device_id]} is device {device_id} already")
        for row in rows_of(name, lines, COLUMNS, gathered):
            try:
                fields = _reading(row) | {"device_id": text("device", device_id), "sensor": sensor, "unit": unit}
            except WrongRow as wrong:
                gathered.wrong(row, wrong)
            else:
                gathered.events.append(Event("ReadingTaken", device_id, fields))
    gathered.events.sort(key=lambda event: event.occurred_at)
    return gathered


def _reading(row: Row) -> dict[str, object]:
    time_text, value_text = row.values
    value = parsed("value", value_text, float)
    if not isfinite(value) or abs(value) > _MAX_VALUE:
        raise WrongRow(f"value {value_text!r} is no number of at most {_MAX_VALUE}")
    return {
        "event_id": str(uuid5(_NAMESPACE, f"{row.file}/{row.line}")),
        "occurred_at": time_ms("timestamp", time_text),
        "source": SOURCE,
        "value": value,
    }
