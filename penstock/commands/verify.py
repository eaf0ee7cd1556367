"""``penstock verify``: is what the views say what the log says?"""

import sys
import threading
import time
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.errors import ExitCode
from penstock.log import configure_logging
from penstock.schema_ids import schema_ids
from penstock.settings import load_settings

if TYPE_CHECKING:
    from referee.report import Verdict


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document in place of tables."),
    timeout: float = typer.Option(60.0, "--timeout", min=1.0, help="Seconds to wait for a part, or for the views."),
    view: Annotated[
        list[str] | None, typer.Option("--view", help="Only this view; may be given several times.", metavar="NAME")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="Only panes, and events of entities, from then on: 2h (ago), 30m, 7d, or an ISO 8601 time (UTC).",
            metavar="TIME",
        ),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(help="Again every T (5m), until it is stopped; /metrics shows the newest verdict.", metavar="T"),
    ] = None,
) -> int:
    """Recompute every view from the topics with other code, and compare every row.

    Works while the pipeline runs: it compares at a consistent cut. Reads each log once and holds the events of open
    panes; entities and event ids go to a temporary folder (TMPDIR), about 40 bytes an event. Prints each difference
    with the offsets behind it, and the books. Event ids in two partitions of a topic are a warning. Exit
    codes: 0 PROVED, 1 NOT PROVED, 3 a part was away or the views were behind for the whole timeout, 4 a topic was
    recreated or the configuration is another. With --every it goes on after the first three of them.
    """
    from rich.console import Console

    from penstock.progress import shown_on_stderr
    from referee.report import print_verdict, to_json
    from referee.scope import Scope
    from referee.since import since_ms
    from referee.verify import verify as run

    def verdict_now(stopping: threading.Event | None = None) -> "Verdict":
        from_ms = None if since is None else since_ms(since, time.time_ns() // 1_000_000)
        scope = Scope(frozenset(view) if view else None, from_ms)
        with shown_on_stderr() as progress:
            return run(settings, schema_ids(settings), timeout, scope, progress, stopping)

    every_s = None if every is None else _seconds(every)
    settings = load_settings()
    configure_logging(settings)
    if every_s is not None:
        from referee.watch import watch

        return watch(settings, verdict_now, every_s)
    verdict = verdict_now()
    if as_json:
        sys.stdout.write(to_json(verdict) + "\n")
    else:
        print_verdict(verdict, Console())
    return ExitCode.OK if verdict.proved else ExitCode.FAILED


def _seconds(every: str) -> float:
    from penstock.errors import UsageError
    from producers.arguments import duration_ms

    seconds = duration_ms("--every", every) / 1_000
    if seconds < 1:
        raise UsageError(f"--every: {every!r} must be at least 1s")
    return seconds
