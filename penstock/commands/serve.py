"""``penstock serve``: the live page and the query API."""

from typing import Annotated

import typer

from penstock.errors import ExitCode
from penstock.log import configure_logging
from penstock.settings import load_settings
from penstock.stopping import stop_on_signals


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    host: Annotated[
        str | None, typer.Option("--host", help="Where to listen; else PENSTOCK_SERVE_HOST, 127.0.0.1.")
    ] = None,
    port: Annotated[
        int | None, typer.Option("--port", help="0 takes a free one; else PENSTOCK_SERVE_PORT, 8080.", min=0, max=65535)
    ] = None,
) -> ExitCode:
    """Show the views live on a page, and answer queries (/api), from the database of DATABASE_URL, which is only read.

    Runs until it is stopped.
    """
    from consumers.serving.run import run

    given = {"serve_host": host, "serve_port": port}
    settings = load_settings(**{name: value for name, value in given.items() if value is not None})
    configure_logging(settings)
    with stop_on_signals() as stopping:
        return run(settings, stopping)
