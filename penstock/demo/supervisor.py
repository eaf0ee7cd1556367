"""The small supervisor of the demo: starts processes, starts stages again that die, stops all of them."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

from penstock.demo.plan import Child
from penstock.errors import ExitCode, PenstockError

MAX_RESTARTS = 5
LOG_COLUMNS = "120"
_STOP_TIMEOUT_S = 20.0


class Running:
    """A process of the demo and its log file."""

    def __init__(self, child: Child, environment: Mapping[str, str], folder: Path) -> None:
        self.child = child
        self.log_path = folder / f"{child.name}.log"
        self.restarts = 0
        self._environment = {**os.environ, **environment, **child.environment}
        self._environment |= {"PENSTOCK_HTTP_PORT": str(child.port or 0), "COLUMNS": LOG_COLUMNS}
        self._log: IO[bytes] = self.log_path.open("ab")
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "penstock", *self.child.arguments]
        # A session of its own: Ctrl-C reaches the demo alone, which then stops the processes in order.
        return subprocess.Popen(
            command, env=self._environment, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            start_new_session=True,
        )  # fmt: skip

    @property
    def ended(self) -> int | None:
        """The exit code, or None while it runs."""
        return self.process.poll()

    def again(self) -> None:
        """Start it once more."""
        self.restarts += 1
        self.process = self._spawn()

    def ask_to_stop(self) -> None:
        """Send SIGTERM."""
        if self.ended is None:
            self.process.terminate()

    def wait(self, timeout_s: float) -> int:
        """Return the exit code; kill what does not stop in time."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def tail(self, lines: int = 5) -> str:
        """Return the end of the log."""
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])


class Supervisor:
    """All processes of one demo."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = environment
        self._folder = folder
        self.running: list[Running] = []

    def start(self, children: Iterable[Child]) -> None:
        """Start processes."""
        self.running += [Running(child, self._environment, self._folder) for child in children]

    def look_after(self) -> list[str]:
        """Start stages again that died; return a line for each event. Raises PenstockError for what must not go on."""
        events = []
        for process in self.running:
            code = process.ended
            if code is None or process.child.is_producer:
                continue
            if code in (ExitCode.USAGE, ExitCode.STOPPED) or process.restarts >= MAX_RESTARTS:
                raise PenstockError(f"{process.child.name} ended with {code}:\n{process.tail()}")
            process.again()
            events.append(f"{process.child.name} ended with {code}; started again")
        return events

    def stop(self, *, producers: bool) -> list[str]:
        """Stop the producers, or all the others; return a line for each that ended badly."""
        chosen = [process for process in self.running if process.child.is_producer is producers]
        for process in chosen:
            process.ask_to_stop()
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        codes = [(process, process.wait(max(deadline - time.monotonic(), 0.1))) for process in chosen]
        return [f"{process.child.name} ended with {code}:\n{process.tail()}" for process, code in codes if code]

    def run_once(self, child: Child, timeout_s: float) -> int:
        """Run a process to its end; return its exit code."""
        running = Running(child, self._environment, self._folder)
        self.running.append(running)
        return running.wait(timeout_s)
