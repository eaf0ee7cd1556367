"""Lists in pages: filters, a cursor that is the last row's key, and the one query that reads a page."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from consumers.serving import cursors
from consumers.serving.endpoints import Arguments, Endpoint, Field, Parameter, record, reference, schema_of
from consumers.serving.kinds import Text, Whole
from consumers.serving.look import Look
from consumers.serving.problems import Problem

MAX_ROWS = 500

LIMIT = Parameter("limit", Whole(1, MAX_ROWS), "Rows of a page.", default=100)
CURSOR = Parameter("cursor", Text(cursors.MAX_CURSOR), "Where the page begins: from `next` of the page before.")


@dataclass(frozen=True)
class Key:
    """A column of the order of a list. The whole key is one row's alone, and never changes."""

    column: str
    kind: type
    descending: bool = False


@dataclass(frozen=True)
class Listing:
    """A list over a relation of a view. ``source`` is what stands behind ``FROM``."""

    path: str
    operation: str
    name: str
    about: str
    view: str
    source: str
    fields: tuple[Field, ...]
    filters: tuple[Parameter, ...]
    key: tuple[Key, ...]

    def endpoint(self) -> Endpoint:
        """Return the endpoint of this list."""
        return Endpoint(
            self.path, self.operation, self.about, (*self.filters, LIMIT, CURSOR), page_schema(self.name),
            self._read, {self.name: schema_of(self.fields, self.about)},
        )  # fmt: skip

    def _read(self, look: Look, arguments: Arguments) -> dict[str, Any]:
        after = after_cursor(arguments, self.key)
        sql, parameters = page_query(self, arguments, after)
        rows = look.rows(self.view, sql, parameters)
        return page(self.path, [record(self.fields, row[len(self.key) :]) for row in rows],
                    [row[: len(self.key)] for row in rows], arguments)  # fmt: skip


def after_cursor(arguments: Arguments, key: Sequence[Key]) -> tuple[Any, ...] | None:
    """Return the key that the page begins behind. Raises :class:`Problem`."""
    if arguments["cursor"] is None:
        return None
    try:
        return cursors.decode(arguments["cursor"], [item.kind for item in key])
    except ValueError as error:
        raise Problem(HTTPStatus.BAD_REQUEST, f"cursor: {error}") from None


def page_query(
    listing: Listing, arguments: Arguments, after: tuple[Any, ...] | None
) -> tuple[str, dict[str, Any]]:
    """Return the query of a page, and what is bound in it: the key's columns, then the fields', one row too many."""
    asked = [item for item in listing.filters if item.condition and arguments[item.name] is not None]
    conditions = [item.condition for item in asked]
    bound = {item.name: arguments[item.name] for item in asked} | {"rows": arguments["limit"] + 1}
    if after is not None:
        conditions.append(behind(listing.key))
        bound |= {f"key_{number}": value for number, value in enumerate(after)}
    columns = ", ".join([item.column for item in listing.key] + [item.source for item in listing.fields])
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = ", ".join(f"{item.column}{' DESC' if item.descending else ''}" for item in listing.key)
    return f"SELECT {columns} FROM {listing.source}{where} ORDER BY {order} LIMIT :rows", bound  # noqa: S608


def behind(key: Sequence[Key]) -> str:
    """Return the condition that a row stands behind the key ``:key_0, :key_1, …``.

    Its first term alone says where in the first column, so that a database can start there.
    """
    ways = []
    for number, item in enumerate(key):
        same = [f"{before.column} = :key_{place}" for place, before in enumerate(key[:number])]
        ways.append(" AND ".join([*same, f"{item.column} {'<' if item.descending else '>'} :key_{number}"]))
    first = f"{key[0].column} {'<=' if key[0].descending else '>='} :key_0"
    return f"{first} AND ({' OR '.join(f'({way})' for way in ways)})"


def page(path: str, items: list[Any], keys: Sequence[Sequence[Any]], arguments: Arguments) -> dict[str, Any]:
    """Return a page of ``items``, of which there is one more than asked for if it is not the last."""
    limit = arguments["limit"]
    if len(items) <= limit:
        return {"items": items, "next": None}
    kept = {name: value for name, value in arguments["asked"].items() if name != "cursor"}
    query = urlencode({**kept, "cursor": cursors.encode(keys[limit - 1])})
    return {"items": items[:limit], "next": f"{path}?{query}"}


def page_schema(name: str) -> dict[str, Any]:
    """Return the schema of a page of objects called ``name``."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": reference(name), "maxItems": MAX_ROWS},
            "next": {"type": ["string", "null"], "description": "Address of the next page; null behind the last."},
        },
        "additionalProperties": False,
    }
