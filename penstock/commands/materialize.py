"""``penstock materialize``: keep the views."""

import signal
import threading
from typing import Annotated

import typer

from penstock.errors import ExitCode
from penstock.failpoints import arm
from penstock.log import configure_logging
from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("materialize")(materialize)


def materialize(
    views: Annotated[list[str] | None, typer.Argument(help="Views to keep; all when none is named.")] = None,
    swap: Annotated[
        bool, typer.Option("--swap", help="Let the relations that people query show this pipeline version from now on.")
    ] = False,
) -> ExitCode:
    """Keep views in a database: SQLite or Postgres, by DATABASE_URL. Runs until it is stopped."""
    from consumers.run import run

    settings = load_settings()
    configure_logging(settings)
    arm(settings.failpoints)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return run(settings, views or (), stopping, swap=swap)
