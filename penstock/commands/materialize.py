"""``penstock materialize``: keep the views."""

from typing import Annotated

import typer

from penstock.errors import ExitCode
from penstock.failpoints import arm
from penstock.log import configure_logging
from penstock.settings import load_settings
from penstock.stopping import stop_on_signals


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
    with stop_on_signals() as stopping:
        return run(settings, views or (), stopping, swap=swap)
