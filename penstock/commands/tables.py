"""Tables on the terminal, for all commands."""

from collections.abc import Iterable, Sequence

WIDE = 160
"""Columns where there is no terminal to ask: a pipe or a log should get whole words."""


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; long cells fold, none is cut, and brackets in them are text, not markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console.print(table)
