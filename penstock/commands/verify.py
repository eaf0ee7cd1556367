"""``penstock verify``: is what the views say what the log says?"""

import sys

import typer

from penstock.errors import ExitCode
from penstock.log import configure_logging
from penstock.schema_ids import schema_ids
from penstock.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document in place of tables."),
    timeout: float = typer.Option(60.0, "--timeout", min=1.0, help="Seconds to wait for a part, or for the views."),
) -> int:
    """Recompute every view from the topics with other code, and compare every row.

    Works while the pipeline runs: it compares at a consistent cut. Prints each difference and the books. Exit codes:
    0 PROVED, 1 NOT PROVED, 3 a part was away or the views were behind for the whole timeout, 4 a topic was
    recreated or the configuration is another.
    """
    from rich.console import Console

    from referee.report import print_verdict, to_json
    from referee.verify import verify as run

    settings = load_settings()
    configure_logging(settings)
    verdict = run(settings, schema_ids(settings), timeout)
    if as_json:
        sys.stdout.write(to_json(verdict) + "\n")
    else:
        print_verdict(verdict, Console())
    return ExitCode.OK if verdict.proved else ExitCode.FAILED
