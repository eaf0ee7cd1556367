"""``penstock config``: the settings that are in force."""

import sys

import typer

from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("config")(config)


def config() -> None:
    """Print what is in force, as environment variables; secrets are masked."""
    for name, value in load_settings().environment().items():
        sys.stdout.write(f"{name}={value}\n")
