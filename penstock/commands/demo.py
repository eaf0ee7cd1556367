"""``penstock demo``: everything, for a while, on embedded parts."""

import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    *,
    seconds: Annotated[int, typer.Option(help="How long events are made.", min=5, max=3_600)] = 60,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same events; else a random one.")] = None,
    folder: Annotated[Path, typer.Option(help="Where the run's folder with logs and database is made.")] = Path("runs"),
) -> int:
    """Run the whole pipeline: producers, two processors and views, with faults; then prove the numbers.

    Ends with PROVED (exit 0) or NOT PROVED (exit 1). Ctrl-C ends the making of events early; the proof still follows.
    """
    from rich.console import Console

    from penstock.demo.run import run_demo

    chosen = secrets.randbits(31) if seed is None else seed
    return run_demo(seconds, chosen, folder.resolve(), Console(file=sys.stdout))
