"""Reading two builds of a view's tables to compare them: which columns there are, and the rows page by page."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from consumers.builds import Build
from consumers.rebuild_compare import Columns, Difference, Row, compare
from consumers.stores import Transaction
from consumers.view_files import View, table_name

PAGE_ROWS = 5_000

CATALOG = {
    "sqlite": "SELECT name, pk FROM pragma_table_info(:table) ORDER BY cid",
    "postgresql": """SELECT a.attname, COALESCE((SELECT k.place FROM pg_index AS i, unnest(i.indkey)
        WITH ORDINALITY AS k(number, place)
        WHERE i.indrelid = a.attrelid AND i.indisprimary AND k.number = a.attnum), 0)
      FROM pg_attribute AS a WHERE a.attrelid = to_regclass(:table) AND a.attnum > 0 AND NOT a.attisdropped
      ORDER BY a.attnum""",
}
"""By kind of database: the columns of a table, and each one's place in its key, from 1 (0: in none)."""


def columns_of(transaction: Transaction, kind: str, table: str) -> Columns | None:
    """Return the columns of ``table``, those of its key first; None if there is no such table."""
    rows = transaction.fetch(CATALOG[kind], {"table": table})
    places = {str(name): int(place) for name, place in rows}
    key = sorted((name for name, place in places.items() if place), key=places.__getitem__)
    rest = sorted(name for name, place in places.items() if not place)
    return Columns((*key, *rest), len(key)) if places else None


def differences(  # noqa: PLR0913  # two builds in two snapshots
    view: View, kind: str, live: tuple[Transaction, Build], new: tuple[Transaction, Build], limit: int,
    told: Callable[[int], None],
) -> list[Difference]:  # fmt: skip
    """Return how each table of two builds differs; tables of either are compared."""
    (before, lives), (after, news) = live, new
    found = []
    for table in dict.fromkeys((*view.tables, *lives.definition.tables)):
        names = table_name(table, lives.version), table_name(table, news.version)
        shapes = columns_of(before, kind, names[0]), columns_of(after, kind, names[1])
        sides = (before, names[0], shapes[0]), (after, names[1], shapes[1])
        found.append(_difference(Difference(table), sides[0], sides[1], limit, told))
    return found


_Side = tuple[Transaction, str, Columns | None]


def _difference(found: Difference, live: _Side, new: _Side, limit: int, told: Callable[[int], None]) -> Difference:
    (before, lives, old), (after, news, columns) = live, new
    if old is None or columns is None or old.of_key != columns.of_key or not columns.key:
        found.live_rows = 0 if old is None else _count(before, lives)
        found.new_rows = 0 if columns is None else _count(after, news)
        told(found.live_rows + found.new_rows)
        found.note = _why(old, columns)
        return found
    found.columns_gone = tuple(name for name in old.names if name not in columns.names)
    found.columns_come = tuple(name for name in columns.names if name not in old.names)
    both = Columns(tuple(name for name in columns.names if name in old.names), columns.key)
    return compare(found, both, _pages(before, lives, both), _pages(after, news, both), limit, told)


def _why(old: Columns | None, new: Columns | None) -> str:
    if old is None:
        return "the table is new"
    if new is None:
        return "the table is gone"
    return f"the key was ({', '.join(old.of_key)}) and is ({', '.join(new.of_key)}): only counted"


def count_rows(transaction: Transaction, kind: str, view: View, version: int) -> int:
    """Return how many rows the tables of a table version have."""
    names = [table_name(table, version) for table in view.tables]
    return sum(_count(transaction, name) for name in names if columns_of(transaction, kind, name) is not None)


def _count(transaction: Transaction, table: str) -> int:
    return int(transaction.fetch(f"SELECT count(*) FROM {table}")[0][0])  # noqa: S608  # a name of ours


def _pages(transaction: Transaction, table: str, columns: Columns) -> Iterator[Sequence[Row]]:
    names, key = ", ".join(columns.names), ", ".join(columns.of_key)
    order = f"ORDER BY {key} LIMIT {PAGE_ROWS}"
    marks = ", ".join(f":k{number}" for number in range(columns.key))
    first = f"SELECT {names} FROM {table} {order}"  # noqa: S608  # names of ours
    further = f"SELECT {names} FROM {table} WHERE ({key}) > ({marks}) {order}"  # noqa: S608
    page = transaction.fetch(first)
    while page:
        yield page
        if len(page) < PAGE_ROWS:
            return
        after: dict[str, Any] = {f"k{number}": page[-1][number] for number in range(columns.key)}
        page = transaction.fetch(further, after)
