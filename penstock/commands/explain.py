"""``penstock explain``: which events are behind this number?"""

import sys
from typing import Annotated

import typer

from penstock.errors import ExitCode
from penstock.log import configure_logging
from penstock.schema_ids import schema_ids
from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain")(explain)


def explain(
    view: Annotated[str, typer.Argument(help="A relation: order_metrics, product_sales_by_day, orders, late_events …")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="NAME=VALUE", help="A column of the row's key; once for each, as in country=GB."),
    ] = None,
    window: Annotated[
        str | None,
        typer.Option("--window", metavar="TIME", help="For metrics: any time in it, as in 2026-11-21T06:35 (UTC)."),
    ] = None,
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document in place of tables; lists all events."),
    timeout: float = typer.Option(60.0, "--timeout", min=1.0, help="Seconds to wait for a part, or for the views."),
) -> int:
    """List the events behind one number, with their fates, and their sum beside the view's value.

    For a metric: every event of the group and window, whether applied, a second copy, late or dead. For an order or
    device: all its events, and which of them gave which column. For a letter: the record, and why. Reads only the part
    of the log that can matter. Exit codes: 0 EQUAL, 1 DIFFERS, 2 there is no such row, 3 a part was away or the views
    were behind for the whole timeout, 4 a topic was recreated or the configuration is another.
    """
    from rich.console import Console

    from penstock.commands.tables import WIDE
    from penstock.progress import shown_on_stderr
    from referee.explain import explain as run
    from referee.explain_question import question
    from referee.explain_report import print_explanation
    from referee.explanation import to_json

    asked = question(view, key or (), window)
    settings = load_settings()
    configure_logging(settings)
    with shown_on_stderr() as progress:
        explanation = run(settings, schema_ids(settings), asked, timeout, progress)
    if as_json:
        sys.stdout.write(to_json(explanation) + "\n")
    else:
        console = Console()
        if not console.is_terminal:
            console.width = max(console.width, WIDE + 20)
        print_explanation(explanation, console)
    return ExitCode.OK if explanation.equal else ExitCode.FAILED
