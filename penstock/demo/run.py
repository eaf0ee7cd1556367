"""The demo from its first process to the verdict."""

import json
import shlex
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from penstock.demo import plan
from penstock.demo.board import Board
from penstock.demo.broker import create_topics, embedded_broker, trimmed_partitions
from penstock.demo.plan import Child
from penstock.demo.scrape import Sample, look
from penstock.demo.supervisor import Supervisor
from penstock.errors import ExitCode

REPOSITORY = Path(__file__).resolve().parents[2]
SETTLE_TIMEOUT_S = 90.0
PAGE_PORT = 8080
_LOOK_EVERY_S = 0.5


def run_demo(seconds: int, seed: int, folder: Path, console: Console) -> int:
    """Run the whole pipeline for ``seconds`` (or until Ctrl-C), settle it, verify it; return 0 only if it is proved."""
    run = folder / datetime.now(UTC).strftime("demo-%Y%m%d-%H%M%S")
    run.mkdir(parents=True)
    console.print(f"seed {seed}, logs and database in {run}", highlight=False, soft_wrap=True)
    with embedded_broker() as bootstrap:
        create_topics(bootstrap)
        environment = plan.environment(bootstrap, run, seconds)
        _write_settings(run / "settings.sh", environment)
        console.print(
            f"to look in while it runs: source {run}/settings.sh; penstock books", highlight=False, soft_wrap=True
        )
        supervisor = Supervisor(environment, run)
        try:
            return _Demo(supervisor, bootstrap, run, console, seconds).run(seed)
        finally:
            supervisor.stop(producers=True)
            supervisor.stop(producers=False)


class _Demo:
    def __init__(
        self, supervisor: Supervisor, bootstrap: str, run: Path, console: Console, seconds: int
    ) -> None:
        self._supervisor = supervisor
        self._bootstrap = bootstrap
        self._run = run
        self._database = run / "views.db"
        self._console = console
        self._seconds = seconds
        self._problems: list[str] = []

    def run(self, seed: int) -> int:
        ports = free_ports(7)
        page_port = _page_port()
        self._supervisor.start(plan.stages(ports[:3], page_port))
        self._console.print(f"the live page: http://127.0.0.1:{page_port}/", highlight=False, soft_wrap=True)
        with Board(self._console, self._supervisor.running, self._seconds) as board:
            self._until(board, SETTLE_TIMEOUT_S, lambda sample: sample.partitions > 0)
            self._supervisor.start(
                plan.producers(self._seconds, seed, ports[3:], self._run, REPOSITORY / "samples")
            )
            board.begin()
            try:
                self._until(board, self._seconds, lambda _sample: False)
            except KeyboardInterrupt:
                board.say(["stopping the producers"])
            self._problems += self._supervisor.stop(producers=True)
            settled = self._close(board)
        if not settled:
            self._problems.append(f"after {SETTLE_TIMEOUT_S:.0f} s there was lag, or panes were open")
        self._problems += [f"the log was trimmed: {name}" for name in trimmed_partitions(self._bootstrap)]
        return self._verdict()

    def _close(self, board: Board) -> bool:
        """Send a closing heartbeat to each partition; return if everything settled in time."""
        truth = str(self._run / "truth-closing.json")
        closing = Child("closing", ("produce", "all", "--count", "0", "--truth", truth))
        self._supervisor.run_once(closing, SETTLE_TIMEOUT_S)
        sent = _sent(self._run)
        return self._until(board, SETTLE_TIMEOUT_S, lambda sample: _is_settled(sample, sent))

    def _until(self, board: Board, timeout_s: float, done: Callable[[Sample], bool]) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            board.say(self._supervisor.look_after())
            sample = look(self._supervisor.running, self._database)
            board.show(sample)
            if done(sample):
                return True
            time.sleep(min(_LOOK_EVERY_S, max(deadline - time.monotonic(), 0)))
        return False

    def _verdict(self) -> int:
        code = self._supervisor.run_once(Child("verify", ("verify",)), SETTLE_TIMEOUT_S)
        said = (self._run / "verify.log").read_text(errors="replace").strip()
        report = said.removesuffix("PROVED").removesuffix("NOT ")  # that is said below, for all of it
        self._console.print(report, markup=False, highlight=False, end="")
        if code:
            self._problems.append(f"verify ended with {code}")
        for problem in self._problems:
            self._console.print(problem, style="red", markup=False, highlight=False)
        if self._problems:
            self._console.print("[bold red]NOT PROVED[/]")
            return ExitCode.FAILED
        self._console.print(
            f"[bold green]PROVED[/]: all {_sent(self._run):,} acknowledged events are settled exactly once, and every "
            "number of every view follows from the log.",
            highlight=False,
        )
        return ExitCode.OK


def _write_settings(file: Path, environment: Mapping[str, str]) -> None:
    """Write what a shell needs to know to run commands on the demo's pipeline."""
    known = {name: value for name, value in environment.items() if name != "PENSTOCK_DIE_WITH_PARENT"}
    file.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in known.items()))


def _sent(run: Path) -> int:
    """Return how many records the broker acknowledged, by the producers' own count."""
    truths = [json.loads(path.read_text()) for path in run.glob("truth-*.json")]
    return sum(topic["acknowledged"] for truth in truths for topic in truth["topics"].values())


def _is_settled(sample: Sample, sent: int) -> bool:
    """Say if every acknowledged record has its fate, no pane is open, and the views have all of it."""
    lag = sum(sample.lag.values())
    return sample.settled_total == sent and lag == 0 and sample.open_panes == 0 and sample.imbalance == 0


def _page_port() -> int:
    """Return the port of the live page: its usual one, or a free one if somebody has that."""
    try:
        socket.create_server(("127.0.0.1", PAGE_PORT)).close()
    except OSError:
        return free_ports(1)[0]
    return PAGE_PORT


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(listener.getsockname()[1]) for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
