"""``penstock config``: the settings that are in force, and where each comes from."""

import sys
from typing import Annotated

import typer

from penstock.commands.tables import print_table
from penstock.settings import load_settings, setting_sources


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(config)


def config(
    sources: Annotated[
        bool, typer.Option("--sources", help="Also say where each comes from: environment, a file, or the default.")
    ] = False,
) -> None:
    """Print what is in force, as environment variables; secrets are masked."""
    settings = load_settings().environment()
    if not sources:
        sys.stdout.writelines(f"{name}={value}\n" for name, value in settings.items())
        return
    where = setting_sources()
    print_table(["setting", "value", "source"], [(name, value, where[name]) for name, value in settings.items()])
