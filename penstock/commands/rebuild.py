"""``penstock rebuild``: build a view anew from the log beside the live one, and swap."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.errors import ExitCode, UsageError
from penstock.failpoints import arm
from penstock.log import configure_logging
from penstock.schema_ids import schema_ids
from penstock.settings import Settings, load_settings

if TYPE_CHECKING:
    from consumers.rebuild import Comparison, Rebuild


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rebuild")(rebuild)


def rebuild(  # its options
    view: Annotated[str, typer.Argument(help="The view to build anew.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Swap without asking, whatever differs.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Build and compare; swap nothing. The next run goes on from there.")
    ] = False,
    roll_back: Annotated[
        bool, typer.Option("--rollback", help="Swap back to what was live before the last swap; builds nothing.")
    ] = False,
    drop: Annotated[
        bool, typer.Option("--drop", help="Drop what is not live: what is kept for --rollback, and unfinished builds.")
    ] = False,
    accept_trimmed: Annotated[
        bool, typer.Option("--accept-trimmed-log", help="Build from what is left of a log whose start is gone.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="Differing rows to list of each table.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document in place of tables.")] = False,
    timeout: Annotated[float, typer.Option(min=1.0, help="Seconds to wait for a part that is away.")] = 60.0,
) -> int:
    """Build a view anew from the log beside the live one, show what differs, and swap.

    `penstock materialize` may go on meanwhile, and so may who reads the view. Both builds are compared at the same
    offsets. The swap is one transaction: a running `penstock materialize` with the same SQL goes on with the new
    tables within a second or two; one with other SQL stops with exit code 4. What was live is kept for --rollback
    until the next swap. A rebuild that was killed goes on where it was. It works as the user that owns the views.
    Exit codes: 0 swapped, or equal with --dry-run; 1 it differs (--dry-run), nobody said yes, or somebody else rebuilds
    it too; 3 a part was away; 4 the log does not hold what is needed.
    """
    from consumers.rebuild import Rebuild
    from consumers.rebuild_build import Options
    from consumers.view_files import choose_views, load_views
    from penstock.progress import shown_on_stderr

    _check_arguments(yes=yes, dry_run=dry_run, roll_back=roll_back, drop=drop, as_json=as_json)
    (chosen,) = choose_views(load_views(), [view])
    settings = load_settings()
    configure_logging(settings)
    arm(settings.failpoints)
    _check_database(settings)
    options = Options(accept_trimmed, limit, timeout)
    with Rebuild(settings, chosen, schema_ids(settings), options) as work:
        if drop:
            return _drop(work, view)
        if roll_back:
            return _roll_back(work, view)
        with shown_on_stderr() as progress:
            found = work.build(progress)
        if not as_json:
            _show(found)
        swapped = not dry_run and (yes or _agreed(found))
        if swapped:
            with shown_on_stderr() as progress:
                dropped = work.swap(progress)
        if as_json:
            _show_json(found, swapped=swapped)
        elif swapped:
            _say_swapped(found, dropped)
        else:
            sys.stdout.write(f"Nothing was swapped; the next `penstock rebuild {view}` goes on from here.\n")
    return ExitCode.OK if swapped or (dry_run and found.equal) else ExitCode.FAILED


def _check_arguments(*, yes: bool, dry_run: bool, roll_back: bool, drop: bool, as_json: bool) -> None:
    if sum((yes, dry_run)) > 1 or sum((dry_run, roll_back, drop)) > 1:
        raise UsageError("--dry-run, --rollback and --drop exclude each other, and --dry-run excludes --yes")
    asks = not (yes or dry_run or roll_back or drop)
    if asks and (as_json or not sys.stdin.isatty()):
        raise UsageError("nobody can be asked here whether to swap: say --yes or --dry-run")


def _check_database(settings: Settings) -> None:
    """Raise UsageError for a SQLite file that is not there: it would be made, and hold nothing."""
    url = settings.database_url.get_secret_value()
    path = Path(url.removeprefix("sqlite:///"))
    if url.startswith("sqlite:///") and not path.exists():
        raise UsageError(f"DATABASE_URL: there is no view database {path}: `penstock materialize` makes it")


def _show(found: "Comparison") -> None:
    from rich.console import Console

    from consumers.rebuild_report import print_comparison
    from penstock.commands.tables import WIDE

    console = Console()
    if not console.is_terminal:
        console.width = WIDE
    print_comparison(found, console)


def _show_json(found: "Comparison", *, swapped: bool) -> None:
    from consumers.rebuild_report import to_json

    sys.stdout.write(to_json(found, swapped=swapped) + "\n")


def _agreed(found: "Comparison") -> bool:
    from consumers.view_files import version_name

    live, new = version_name(found.live.version), version_name(found.new.version)
    return typer.confirm(f"Swap {found.view} from {live} to {new}?")


def _say_swapped(found: "Comparison", dropped: list[str]) -> None:
    from consumers.view_files import version_name

    live, new = version_name(found.live.version), version_name(found.new.version)
    lines = [f"SWAPPED: {found.view} is {new} now; {live} is kept: `penstock rebuild {found.view} --rollback`."]
    if found.other_rules:
        lines.append("A `penstock materialize` that has the SQL of before stops now; start the one that has this.")
    if dropped:
        lines.append(f"Dropped: {', '.join(dropped)}.")
    sys.stdout.write("\n".join(lines) + "\n")


def _roll_back(work: "Rebuild", view: str) -> ExitCode:
    from consumers.view_files import version_name

    live, old = work.roll_back()
    sys.stdout.write(
        f"ROLLED BACK: {view} is {version_name(live.version)} again, as of the swap or as far as it was kept since; a "
        "`penstock materialize` that has its SQL catches up from there.\n"
        f"{version_name(old.version)} is kept: --rollback once more swaps it in again.\n"
    )
    return ExitCode.OK


def _drop(work: "Rebuild", view: str) -> ExitCode:
    dropped = work.drop()
    sys.stdout.write(f"Dropped of {view}: {', '.join(dropped) or 'nothing, for nothing is there but what is live'}.\n")
    return ExitCode.OK
