"""``penstock replay``: real events from files, as history or as if they happened now."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from penstock.errors import UsageError
from penstock.settings import load_settings

if TYPE_CHECKING:
    from producers.csv_rows import Gathered
    from producers.session import Session

Files = Annotated[list[Path], typer.Argument(help="CSV files; event ids come from their names.", metavar="FILE...")]
Live = Annotated[bool, typer.Option("--live", help="As if it happened now; else at its own times, as fast as it goes.")]
Speed = Annotated[
    float | None, typer.Option(help="With --live: divide the gaps between events by this; 1 unless given.")
]
Close = Annotated[
    bool, typer.Option("--close/--no-close", help="End with a heartbeat to each partition that makes all panes final.")
]
Truth = Annotated[Path | None, typer.Option(help="Write what was sent, by topic and fate, to this file as JSON.")]
Timeout = Annotated[
    str | None, typer.Option(help="Give up (exit 3) when the broker or registry is away for T; else wait for ever.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    replay = typer.Typer(
        help="Send real events from files. Exit 1 if a row could not be read (the others are sent). History belongs on "
        "topics of its own (PENSTOCK_TOPIC_PREFIX): behind live events it would be late.",
        no_args_is_help=True,
    )
    replay.command("online-retail")(online_retail)
    replay.command("readings")(readings)
    app.add_typer(replay, name="replay")


def online_retail(
    files: Files,
    *,
    live: Live = False,
    speed: Speed = None,
    close: Close = True,
    truth: Truth = None,
    timeout: Timeout = None,
) -> int:
    """Replay UCI "Online Retail" invoices: orders, and cancellations (C... invoices).

    An order is all rows of an invoice with a quantity and a price above 0. Other rows are told by reason.
    """
    from producers import retail
    from producers.csv_rows import open_all

    pace = speed_of(live, speed)
    gathered = retail.gather(open_all(files))
    session = _session("replay online-retail", "orders", gathered, close, truth, timeout)
    return _start(gathered, session, pace)


def readings(
    files: Files,
    *,
    sensor: Annotated[str, typer.Option(help="What was measured: temperature, humidity, speed, ...")],
    unit: Annotated[str, typer.Option(help="Unit of the values.")],
    live: Live = False,
    speed: Speed = None,
    close: Close = True,
    truth: Truth = None,
    timeout: Timeout = None,
) -> int:
    """Replay readings (columns timestamp and value); the device is the file's name without its ending."""
    from penstock.contracts import load_contracts
    from producers import readings as model
    from producers.csv_rows import WrongRow, open_all, text

    pace = speed_of(live, speed)
    symbol = model.sensor_of(sensor, load_contracts()["ReadingTaken"])
    try:
        text("unit", unit)
    except WrongRow as wrong:
        raise UsageError(f"--unit: {wrong}") from None
    gathered = model.gather(open_all(files), symbol, unit)
    session = _session("replay readings", "telemetry", gathered, close, truth, timeout)
    return _start(gathered, session, pace)


def speed_of(live: bool, speed: float | None) -> float | None:
    """Return by what gaps are divided in a live replay, None for history. Raises :class:`UsageError`."""
    if speed is not None and not live:
        raise UsageError("--speed: only with --live; history is sent as fast as it goes")
    if speed is not None and not 0 < speed < float("inf"):
        raise UsageError(f"--speed: {speed:g} must be more than 0")
    return (speed or 1.0) if live else None


def _session(
    title: str, topic: str, gathered: "Gathered", close: bool, truth: Path | None, timeout: str | None
) -> "Session":
    from penstock.topics import BY_NAME
    from producers.arguments import duration_ms
    from producers.replayed import facts
    from producers.session import Session

    wait_s = None if timeout is None else duration_ms("--timeout", timeout) / 1_000
    return Session(title, (BY_NAME[topic],), close, truth, wait_s, facts=facts(gathered))


def _start(gathered: "Gathered", session: "Session", speed: float | None) -> int:
    from penstock.log import configure_logging
    from penstock.progress import shown_on_stderr
    from producers.replayed import start

    settings = load_settings()
    configure_logging(settings)
    with shown_on_stderr() as progress:
        return start(gathered, replace(session, progress=progress), settings, speed)
