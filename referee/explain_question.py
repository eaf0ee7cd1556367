"""What ``penstock explain`` is asked: a view, the key of one of its rows, a window. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import polars as pl

from penstock.errors import UsageError
from penstock.pipeline import PANE_MS
from referee.entities import ENTITIES, Entity
from referee.letters import LETTERS, Letters
from referee.metric_tables import TABLES, MetricTable
from referee.sketches import group_types

SPANS_MS = {"": PANE_MS, "_by_hour": 3_600_000, "_by_day": 86_400_000}
"""Length of a window by how the name of the relation ends."""

_ALIASES = {"topic": "source_topic", "partition": "source_partition", "offset": "source_offset"}
_EXAMPLES = {
    "country": "GB", "sku": "22423", "sensor": "CPU", "device_id": "device-7", "order_id": "ORDER",
    "bucket_e6": "21500000", "block": "17",
    "source_topic": "orders", "source_partition": "0", "source_offset": "1234",
}  # fmt: skip
WINDOW_EXAMPLE = "2026-11-21T06:35"


@dataclass(frozen=True)
class MetricQuestion:
    """A group of a metric in [``start_ms``, ``end_ms``); ``partition`` None: of all partitions."""

    view: str
    table: MetricTable
    group: Mapping[str, str | int]
    start_ms: int
    end_ms: int
    partition: int | None = None


@dataclass(frozen=True)
class EntityQuestion:
    """A row of an entity view, which may be kept in several tables. ``key`` may name less than a table's key."""

    view: str
    entities: tuple[Entity, ...]
    key: Mapping[str, str]


@dataclass(frozen=True)
class LetterQuestion:
    """A letter, by the place of its record. ``topic`` is a logical name, or a topic's id."""

    view: str
    letters: Letters
    topic: str
    partition: int
    offset: int


Question: TypeAlias = MetricQuestion | EntityQuestion | LetterQuestion


def question(view: str, pairs: Iterable[str], window: str | None) -> Question:
    """Return what is asked for. ``pairs`` are ``name=value``. Raises UsageError, which says what there is."""
    keys = _keys(pairs)
    for ending, span_ms in SPANS_MS.items():
        tables = [table for table in TABLES if table.name == view.removesuffix(ending) and view.endswith(ending)]
        if tables and (not ending or tables[0].metric.group):
            return _of_metric(view, tables, keys, window, span_ms)
    if window is not None:
        raise UsageError(f"--window: {view} has no windows; leave it out" if view in _names() else _no_view(view))
    entities = tuple(entity for entity in ENTITIES if entity.view == view)
    if entities:
        return _of_entity(view, entities, keys)
    for letters in LETTERS:
        if letters.view == view:
            _check_columns(view, keys, ("source_topic", "source_partition", "source_offset"))
            number, offset = (_number(name, keys[name]) for name in ("source_partition", "source_offset"))
            return LetterQuestion(view, letters, keys["source_topic"], number, offset)
    raise UsageError(_no_view(view))


def _names() -> list[str]:
    metrics = [table.name + end for table in TABLES for end in SPANS_MS if not end or table.metric.group]
    return list(dict.fromkeys((*metrics, *(e.view for e in ENTITIES), *(letters.view for letters in LETTERS))))


def _no_view(view: str) -> str:
    return f"there is no view {view!r}; there are {', '.join(_names())}"


def _keys(pairs: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = _ALIASES.get(name.strip(), name.strip())
        if not equals or not name:
            raise UsageError(f"--key {pair}: must be name=value, as in --key country=GB")
        if name in found:
            raise UsageError(f"--key: {name} is given twice")
        found[name] = value
    if "source_topic_id" in found:  # as `verify` names letters
        found.setdefault("source_topic", found.pop("source_topic_id"))
    return found


def _check_columns(view: str, keys: Mapping[str, str], needed: Iterable[str], more: Iterable[str] = ()) -> None:
    needed, known = tuple(needed), {*needed, *more}
    wrong = [name for name in keys if name not in known]
    missing = [name for name in needed if name not in keys]
    if not wrong and not missing:
        return
    what = f"has no key column {wrong[0]!r}" if wrong else f"needs {' and '.join(missing)}"
    example = " ".join(f"--key {name}={_EXAMPLES.get(name, 'VALUE')}" for name in needed)
    also = f" (also {', '.join(more)})" if tuple(more) else ""
    raise UsageError(f"--key: {view} {what}; it is keyed by {', '.join(needed)}{also}, as in {example}")


def _of_metric(
    view: str, tables: list[MetricTable], keys: dict[str, str], window: str | None, span_ms: int
) -> MetricQuestion:
    shared = len(tables) > 1  # one table for several topics: the topic and partition are in its key
    needed = ("source_topic", "source_partition") if shared else tables[0].metric.group
    more = ("window_start",) if shared else ("source_partition", "window_start")
    started = keys.get("window_start")
    sketch = tables[0].metric.sketch
    if sketch is not None and sketch.name not in keys:
        raise UsageError(
            f"--key: {view} is estimated from a sketch, of which single cells can be explained: add one that is in the "
            f"table {tables[0].name}, as in --key {sketch.name}={_EXAMPLES.get(sketch.name, 'VALUE')}"
        )
    _check_columns(view, keys, needed, more)
    if window is None and started is None:
        raise UsageError(f"--window: which one? {view} has a row a window: any time in it, as in {WINDOW_EXAMPLE}")
    at_ms = parse_time("--window" if window else "--key window_start", window or started or "")
    chosen = [table for table in tables if not shared or table.metric.topic == keys["source_topic"]]
    if not chosen:
        topics = " and ".join(table.metric.topic for table in tables)
        raise UsageError(f"--key source_topic: {view} counts {topics}, not {keys['source_topic']!r}")
    number = keys.get("source_partition")
    start_ms = at_ms - at_ms % span_ms
    return MetricQuestion(
        view, chosen[0], _group(chosen[0], keys), start_ms, start_ms + span_ms,
        None if number is None else _number("source_partition", number),
    )  # fmt: skip


def _group(table: MetricTable, keys: Mapping[str, str]) -> dict[str, str | int]:
    kinds = group_types(table.metric)
    return {name: keys[name] if kind == pl.String else _whole(name, keys[name]) for name, kind in kinds.items()}


def _of_entity(view: str, entities: tuple[Entity, ...], keys: dict[str, str]) -> EntityQuestion:
    shared = [name for name in entities[0].key if all(name in entity.key for entity in entities)]
    more = dict.fromkeys(name for entity in entities for name in entity.key if name not in shared)
    _check_columns(view, keys, shared, tuple(more))
    return EntityQuestion(view, entities, keys)


def _number(name: str, text: str) -> int:
    if text.startswith("-"):
        raise UsageError(f"--key {name}={text}: must be a whole number")
    return _whole(name, text)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,18}", text):
        raise UsageError(f"--key {name}={text}: must be a whole number")
    return int(text)


def parse_time(option: str, text: str) -> int:
    """Return a time as milliseconds: digits are that already, else ISO 8601, in UTC unless it says otherwise."""
    if re.fullmatch(r"\d{11,15}", text):
        return int(text)
    try:
        found = datetime.fromisoformat(text)
        at = found.replace(tzinfo=UTC) if found.tzinfo is None else found
        return round(at.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{option} {text}: must be a time, as {WINDOW_EXAMPLE} (UTC) or {WINDOW_EXAMPLE}:00+01:00, "
            "or milliseconds since 1970"
        ) from None


def time_text(at_ms: int | None) -> str:
    """Return milliseconds as a time in UTC; nothing for None, the number where no calendar has it."""
    if at_ms is None:
        return ""
    try:
        moment = datetime.fromtimestamp(at_ms // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return str(at_ms)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{at_ms % 1000:03}Z"
