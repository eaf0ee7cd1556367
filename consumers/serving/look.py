"""One consistent look at the views: which there are, and queries on their tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from consumers.stores import Row, Transaction
from consumers.view_files import Dialect, View, render, table_name
from penstock.errors import Unavailable


class NotNow(Unavailable):
    """There is no answer now, and anybody may be told why: the message names nothing of our innards."""


class Look:
    """A snapshot of the database. ``shown`` says which version of each view people see."""

    def __init__(
        self, transaction: Transaction, dialect: Dialect, views: Mapping[str, View], shown: Mapping[str, int]
    ) -> None:
        self._transaction, self._dialect, self._views, self.shown = transaction, dialect, views, shown

    def has(self, view: str) -> bool:
        """Return whether the view is kept in this database."""
        return view in self.shown

    def rows(self, view: str, sql: str, parameters: Mapping[str, Any] | None = None) -> Sequence[Row]:
        """Return the rows of a ``SELECT`` on the tables of ``view``, written as in its file (``{orders}``).

        Raises :class:`NotNow` when nobody has made the view yet.
        """
        if view not in self.shown:
            raise NotNow(f"view {view} is not in the database yet: `penstock materialize` keeps it")
        filled = render(sql, self._views[view], self.shown[view], self._dialect)
        return self._transaction.fetch(filled, parameters or None)

    def relation(self, view: str, name: str) -> str:
        """Return the ``SELECT`` of one of the view's relations for people, as its file has it: see :meth:`rows`."""
        return self._views[view].reads[name]

    def newest_window(self, view: str) -> int | None:
        """Return the start of the newest window of a metric's view, None when it is empty: one step in its key."""
        (row,) = self.rows(view, f"SELECT max(window_start) FROM {{{view}}}")  # noqa: S608  # a name of ours
        return None if row[0] is None else int(row[0])

    def offsets(self) -> list[tuple[str, str, int, str, int]]:
        """Return view, topic, partition, topic id and next offset of all that the shown views were built from."""
        rows = self._transaction.fetch("SELECT view, version, topic, partition, topic_id, next FROM offsets")
        return sorted((row[0], *row[2:]) for row in rows if self.shown.get(row[0]) == row[1])

    def table(self, view: str, table: str) -> str:
        """Return the name of a view's table in the database."""
        return table_name(table, self.shown[view])
