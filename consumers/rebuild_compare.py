"""What differs between two builds of a table: pure; rows come in pages, in the order of their keys.

A row is a tuple of cells, those of the key first. Two tables that are equal are compared page by page in C; where pages
differ, the rows up to the smaller of their last keys are matched.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Row = tuple[Any, ...]
Kind = Literal["only live", "only new", "changed"]


@dataclass(frozen=True)
class Columns:
    """The columns of a table; those of the key are ``names[:key]``."""

    names: tuple[str, ...]
    key: int

    @property
    def of_key(self) -> tuple[str, ...]:
        """The columns of the key."""
        return self.names[: self.key]


@dataclass(frozen=True)
class Example:
    """A row that differs: its key, and by column the cells of the live and of the new build."""

    kind: Kind
    key: Row
    cells: tuple[tuple[str, Any, Any], ...]


@dataclass
class Difference:
    """What differs between the live and the new build of ``table``."""

    table: str
    live_rows: int = 0
    new_rows: int = 0
    only_live: int = 0
    only_new: int = 0
    changed: int = 0
    by_column: Counter[str] = field(default_factory=Counter)
    """In how many of the changed rows a column differs."""
    columns_gone: tuple[str, ...] = ()
    columns_come: tuple[str, ...] = ()
    examples: list[Example] = field(default_factory=list)
    note: str = ""
    """Why rows could not be matched, if they could not."""

    @property
    def equal(self) -> bool:
        """Whether all rows of both are equal, and their columns the same."""
        rows = self.only_live or self.only_new or self.changed or self.live_rows != self.new_rows
        return not (rows or self.columns_gone or self.columns_come or self.note)


def compare(  # noqa: PLR0913  # both sides, and what becomes of them
    found: Difference,
    columns: Columns,
    live: Iterable[Sequence[Row]],
    new: Iterable[Sequence[Row]],
    limit: int,
    told: Callable[[int], None] = lambda _rows: None,
) -> Difference:
    """Count into ``found`` how the pages ``live`` and ``new`` differ, with at most ``limit`` examples.

    ``told`` hears of how many rows have been compared since it was called last.
    """
    left, right = iter(live), iter(new)
    lives, news = _next(left), _next(right)
    while lives or news:
        before = found.live_rows + found.new_rows
        if lives == news:
            found.live_rows += len(lives)
            found.new_rows += len(news)
            lives, news = [], []
        else:
            lives, news = _match(found, columns, lives, news, limit)
        told(found.live_rows + found.new_rows - before)
        lives, news = lives or _next(left), news or _next(right)
    return found


def _next(pages: Iterator[Sequence[Row]]) -> list[Row]:
    return list(next(pages, ()))


def _match(
    found: Difference, columns: Columns, lives: list[Row], news: list[Row], limit: int
) -> tuple[list[Row], list[Row]]:
    """Match the rows up to the smaller of the last keys; return what is left of both."""
    ends = [_order(rows[-1][: columns.key]) for rows in (lives, news) if rows]
    upto = min(ends)
    mine, lives = _cut(lives, columns.key, upto)
    other, news = _cut(news, columns.key, upto)
    found.live_rows += len(mine)
    found.new_rows += len(other)
    by_key = {row[: columns.key]: row for row in other}
    for row in mine:
        twin = by_key.pop(row[: columns.key], None)
        if twin is None:
            found.only_live += 1
            _remember(found, columns, "only live", row, None, limit)
        elif twin != row:
            found.changed += 1
            found.by_column.update(name for name, a, b in zip(columns.names, row, twin, strict=True) if a != b)
            _remember(found, columns, "changed", row, twin, limit)
    found.only_new += len(by_key)
    for row in by_key.values():
        _remember(found, columns, "only new", None, row, limit)
    return lives, news


def _cut(rows: list[Row], key: int, upto: tuple[tuple[int, Any], ...]) -> tuple[list[Row], list[Row]]:
    if not rows or _order(rows[-1][:key]) <= upto:
        return rows, []
    place = next(number for number, row in enumerate(rows) if _order(row[:key]) > upto)
    return rows[:place], rows[place:]


_RANKS: dict[type[Any], int] = {str: 1, bytes: 2}


def _order(key: Row) -> tuple[tuple[int, Any], ...]:
    """Return what sorts as keys do: in SQLite numbers, texts and bytes may be in one column, in this order."""
    return tuple((_RANKS.get(type(cell), 0), cell) for cell in key)


def _remember(  # noqa: PLR0913  # a row, and where it goes
    found: Difference, columns: Columns, kind: Kind, live: Row | None, new: Row | None, limit: int
) -> None:
    if len(found.examples) >= limit:
        return
    row = live or new or ()
    pairs = zip(columns.names, live or (None,) * len(row), new or (None,) * len(row), strict=True)
    cells = tuple((name, a, b) for number, (name, a, b) in enumerate(pairs) if number >= columns.key and a != b)
    found.examples.append(Example(kind, row[: columns.key], cells))
