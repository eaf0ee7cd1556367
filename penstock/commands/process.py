"""``penstock process``: the Faust app with its HTTP server."""

import typer

from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("process")(process)


def process() -> int:
    """Fold events into metrics. Runs until SIGTERM; more processes share the partitions."""
    from penstock.failpoints import arm
    from penstock.log import configure_logging
    from processors.run import run

    settings = load_settings()
    configure_logging(settings)
    arm(settings.failpoints)
    return run(settings)
