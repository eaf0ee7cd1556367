"""``penstock produce``: events of seeded models, with faults on request."""

import secrets
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from penstock.errors import UsageError
from penstock.settings import load_settings


class What(StrEnum):
    """Which models run."""

    ORDERS = "orders"
    TELEMETRY = "telemetry"
    ALL = "all"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("produce")(produce)


def produce(
    what: Annotated[What, typer.Argument(help="Which events.")],
    *,
    rate: Annotated[
        float | None, typer.Option(help="Events a second, in all; 200 unless --count is given.", metavar="N")
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(help="Stop after N events; without --rate as fast as it goes, with times up to now.", metavar="N"),
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option(help="Stop after T. With --count and no --rate: spread the times over T.", metavar="T"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed makes the same events; else a random one.")] = None,
    disorder: Annotated[str, typer.Option(help="Deliver up to so much late in event time; at most 8s.")] = "0s",
    duplicates: Annotated[str, typer.Option(help="Share of events sent twice (1% or 0.01).")] = "0%",
    late: Annotated[str, typer.Option(help="Share of events in a pane that is final already.")] = "0%",
    poison: Annotated[str, typer.Option(help="Broken records on top, as a share of the events.")] = "0%",
    devices: Annotated[int, typer.Option(help="Devices that measure.", min=1, max=1_000_000)] = 100,
    customers: Annotated[int, typer.Option(help="Customers that buy.", min=1, max=10_000_000)] = 10_000,
    close: Annotated[
        bool,
        typer.Option(
            "--close/--no-close",
            help="End with a heartbeat to each partition, up to 70 s ahead, that makes all panes final. "
            "What is produced to the topic before that time has passed is late.",
        ),
    ] = True,
    truth: Annotated[
        Path | None, typer.Option(help="Write what was sent, by topic and fate, to this file as JSON.")
    ] = None,
    timeout: Annotated[
        str | None, typer.Option(help="Give up (exit 3) when the broker or registry is away for T; else wait for ever.")
    ] = None,
) -> int:
    """Make events and send them, until --count, --duration, SIGTERM or Ctrl-C; then tell what was sent.

    Copies (--duplicates) and broken records (--poison) come on top of --rate and --count. With --count 0 there are
    heartbeats alone: that closes a topic.
    """
    from penstock.log import configure_logging
    from penstock.progress import shown_on_stderr
    from producers.arguments import disorder_ms, duration_ms, share
    from producers.faults import Faults
    from producers.modelled import TOPICS, Plan, start, topics_of
    from producers.session import Session

    faults = Faults(
        disorder_ms("--disorder", disorder),
        share("--duplicates", duplicates),
        share("--late", late),
        share("--poison", poison),
    )
    check_produce(rate, count, faults.duplicates + faults.late + faults.poison)
    names = TOPICS if what is What.ALL else (what.value,)
    plan = Plan(
        names,
        secrets.randbits(32) if seed is None else seed,
        rate,
        count,
        None if duration is None else duration_ms("--duration", duration),
        faults,
        devices,
        customers,
    )
    wait_s = None if timeout is None else duration_ms("--timeout", timeout) / 1_000
    settings = load_settings()
    configure_logging(settings)
    with shown_on_stderr() as progress:
        session = Session(
            f"produce {what.value}", topics_of(names), close, truth, wait_s, plan.seed, progress=progress
        )
        return start(plan, session, settings)


def check_produce(rate: float | None, count: int | None, faulty: float) -> None:
    """Raise :class:`UsageError` for numbers that make no sense."""
    if rate is not None and not 0 < rate <= 1_000_000:
        raise UsageError(f"--rate: {rate:g} must be more than 0 and at most 1,000,000")
    if count is not None and count < 0:
        raise UsageError(f"--count: {count} must be 0 or more")
    if faulty > 1:
        raise UsageError("--duplicates, --late and --poison: together more than 100%")
