"""``penstock books``: do they balance, and do broker, views and producers say the same?"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.errors import ExitCode
from penstock.log import configure_logging
from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("books")(books)


def books(
    truth: Annotated[
        list[Path] | None,
        typer.Option("--truth", help="What a producer wrote with --truth when it was done; several may be named."),
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document in place of tables."),
    timeout: float = typer.Option(60.0, "--timeout", min=1.0, help="Seconds to wait for a part, or for the views."),
) -> int:
    """Print the books of each source partition, and check them without reading the log.

    Beside each frontier (offsets settled, by fate) stand the broker's offsets and, at a consistent cut, what the views
    keep: applied events, late events and dead letters by key. Exit codes: 0 BALANCED, 1 NOT BALANCED, 3 a part was away
    or the views were behind for the whole timeout, 4 a topic was recreated or the configuration is another.
    """
    from rich.console import Console

    from penstock.commands.tables import WIDE
    from referee.ledger_reader import take
    from referee.ledger_report import print_ledger, to_json

    settings = load_settings()
    configure_logging(settings)
    ledger = take(settings, timeout, truth or ())
    if as_json:
        sys.stdout.write(to_json(ledger) + "\n")
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, WIDE)
        print_ledger(ledger, console)
    if ledger.problems():
        return ExitCode.FAILED
    return ExitCode.GAVE_UP if ledger.views_behind else ExitCode.OK
