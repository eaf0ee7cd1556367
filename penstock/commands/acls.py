"""``penstock acls``: the rights of each stage on Kafka: show them, give them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.commands.tables import print_table
from penstock.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from penstock.acls import Acl, Stage

PrincipalOption = Annotated[
    list[str] | None,
    typer.Option(
        "--principal",
        metavar="STAGE=User:NAME",
        help="Who a stage logs in as; by default User:penstock-STAGE. May be given several times.",
    ),
]
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--stage", metavar="STAGE", help="Only this stage; may be given several times."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    acls = typer.Typer(no_args_is_help=True, help="The rights of each stage on Kafka, from penstock/topics.py.")
    acls.command("list")(list_all)
    acls.command("apply")(apply)
    app.add_typer(acls, name="acls")


def list_all(principal: PrincipalOption = None, stage: OnlyOption = None) -> int:
    """List the rights that each stage needs, for this topic prefix and pipeline version. Asks no broker."""
    from penstock.acls import acls
    from penstock.settings import load_settings

    settings = load_settings()
    who = principals(principal or (), stage or ())
    print_table(_COLUMNS, _rows((acl, who[acl.stage]) for acl in acls(settings) if acl.stage in who))
    return ExitCode.OK


def apply(
    principal: PrincipalOption = None,
    stage: OnlyOption = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.0, help="Seconds to wait for the broker.")] = 60.0,
) -> int:
    """Give each stage the rights that it lacks; none is taken away. Needs the right to alter the cluster.

    Topics need not exist yet. A new pipeline version has topics and groups of its own: apply again before it starts.
    """
    from penstock.acl_admin import apply_acls
    from penstock.log import configure_logging
    from penstock.settings import load_settings
    from penstock.waiting import wait_for

    who = principals(principal or (), stage or ())
    settings = load_settings()
    configure_logging(settings)
    if settings.embedded:
        raise UsageError("PENSTOCK_EMBEDDED: the embedded broker knows no rights")
    granted = wait_for("broker", lambda: apply_acls(settings, who), timeout_s=timeout)
    new = [right for right in granted if right.created]
    if new:
        print_table(_COLUMNS, _rows((right.acl, right.principal) for right in new))
    typer.echo(f"{len(new)} rights given, {len(granted) - len(new)} were there")
    return ExitCode.OK


def principals(given: "list[str] | tuple[str, ...]", only: "list[str] | tuple[str, ...]") -> "dict[Stage, str]":
    """Return who each stage is. Raises :class:`UsageError` for what names no stage, or no principal."""
    from penstock.acls import STAGES, default_principal

    chosen = dict(entry.partition("=")[::2] for entry in given)
    for stage in (*chosen, *only):
        if stage not in STAGES:
            raise UsageError(f"{stage!r} is no stage; it must be one of {', '.join(STAGES)}")
    for stage, name in chosen.items():
        if not name.startswith("User:") or name == "User:":
            raise UsageError(f"--principal {stage}={name}: must be STAGE=User:NAME")
    return {stage: chosen.get(stage, default_principal(stage)) for stage in STAGES if not only or stage in only}


_COLUMNS = ("Stage", "Principal", "May", "Of kind", "Names")


def _rows(rights: "Iterable[tuple[Acl, str]]") -> list[tuple[str, ...]]:
    """Return a row for each thing that a stage may do, with all that it may do it to."""
    names: dict[tuple[str, ...], list[str]] = {}
    for acl, principal in rights:
        key = acl.stage, principal, acl.operation.replace("_", " "), acl.kind
        names.setdefault(key, []).append(f"{acl.name}*" if acl.prefixed else acl.name)
    return [(*key, ", ".join(found)) for key, found in names.items()]
