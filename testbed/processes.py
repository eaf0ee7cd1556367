"""Child processes that can't outlive us, free ports, and waiting for a condition with a deadline."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import psutil

T = TypeVar("T")

LOOPBACK = "127.0.0.1"
LOWEST_PORT = 15_000
POLL_SECONDS = 0.05
KILL_TIMEOUT_SECONDS = 10.0
TAIL_LINES = 40

_ports_given: set[int] = set()


class PartError(RuntimeError):
    """A real part did not start, or died; the message names it, its log and what the log said last."""


class PartUnavailableError(PartError):
    """A real part can't be had on this machine; the message says why, and how to get it."""


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on, never given twice by this process.

    It lies below the ephemeral ports, so that no outgoing connection takes it while its part is down, and
    no client that retries it can connect to itself.
    """
    lowest_ephemeral = _lowest_ephemeral_port()
    for _ in range(1_000):
        below = lowest_ephemeral > LOWEST_PORT + 1_000
        wanted = random.SystemRandom().randrange(LOWEST_PORT, lowest_ephemeral) if below else 0
        port = _bindable(wanted)
        if port is not None and port not in _ports_given:
            _ports_given.add(port)
            return port
    raise PartError(f"no free port on {LOOPBACK} in 1,000 tries between {LOWEST_PORT} and {lowest_ephemeral}")


def is_listening(port: int) -> bool:
    """Whether somebody accepts TCP connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def log_tail(log: Path, lines: int = TAIL_LINES) -> str:
    """The last lines of a log, headed by its path; says so when there is no such file."""
    if not log.exists():
        return f"(no log at {log})"
    text = log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
    return "\n".join([f"the end of {log}:", *text])


def wait_until(
    condition: Callable[[], T],
    timeout: float,
    what: str,
    *,
    log: Path | None = None,
    every: float = POLL_SECONDS,
) -> T:
    """Ask `condition` every `every` seconds until its answer is true, and return that answer.

    It is asked at least once, and errors that it raises pass through. After `timeout` seconds:
    TimeoutError, which names `what` was awaited, the last answer, and the tail of `log`.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            told = f"\n{log_tail(log)}" if log else ""
            raise TimeoutError(f"{what}: not within {timeout:g} s; last answer {answer!r}{told}")
        time.sleep(every)


class ChildProcess:
    """One command run as a child in a session of its own, all its output appended to one log file.

    It gets SIGKILL when this process ends, however it ends (where the system has `setpriv --pdeathsig`:
    Linux). `user` runs it as that system user, which only root may ask.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        log: Path,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        self.name = name
        self.command = [str(word) for word in command]
        self.log = log
        self._env = None if env is None else dict(env)
        self._cwd = cwd
        self._user = user
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the last start; PartError before the first one."""
        if self._popen is None:
            raise PartError(f"{self.name} was not started")
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    @property
    def returncode(self) -> int | None:
        """Its exit code, negative the signal that ended it; None while it runs or before it started."""
        return None if self._popen is None else self._popen.poll()

    def start(self) -> None:
        """Run the command; returns once the process exists. PartError if it runs already."""
        if self.running:
            raise PartError(f"{self.name} runs already, as process {self.pid}")
        # The kernel ties the death signal to the *thread* that forks, hence one thread that stays.
        self._popen = _spawner(os.getpid()).submit(self._spawn).result()

    def send(self, number: signal.Signals) -> None:
        """Send it one signal (not to its children); nothing happens if it has ended."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM, timeout: float = 15.0) -> None:
        """Ask it to end, and SIGKILL it and its children after `timeout` seconds if it did not."""
        if self._popen is None or not self.running:
            return
        self.send(number)
        self.send(signal.SIGCONT)
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL it and all below it; returns once none of them is left."""
        if self._popen is None or not self.running:
            return
        tree = _descendants(self.pid)
        self._popen.kill()
        self._popen.wait(KILL_TIMEOUT_SECONDS)
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(
            lambda: all(_ended(process) for process in tree),
            KILL_TIMEOUT_SECONDS,
            f"the end of the children of {self.name}",
        )

    def wait_until(self, condition: Callable[[], T], timeout: float, what: str) -> T:
        """As `wait_until`, with its log; PartError as soon as the process has ended instead."""

        def alive_and_true() -> T:
            if not self.running:
                code = self.returncode
                raise PartError(f"{self.name} ended with code {code} before {what}\n{log_tail(self.log)}")
            return condition()

        return wait_until(alive_and_true, timeout, what, log=self.log)

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [*_dying_with(os.getpid()), *self.command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
            )


@lru_cache(maxsize=1)
def _spawner(process_id: int) -> ThreadPoolExecutor:
    """The thread that forks, one per process id: a fork of ours does not inherit the thread."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"testbed-{process_id}")


def _dying_with(parent: int) -> list[str]:
    """The words before a command that make the kernel kill it once `parent`, which starts it, has ended.

    The shell is for a parent that ended before the death signal was set: nobody would send it any more.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return []
    unless_orphan = 'test "$PPID" -eq "$1" || exit 1; shift; exec "$@"'
    return [setpriv, "--pdeathsig", "KILL", "--", "sh", "-c", unless_orphan, "sh", str(parent)]


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _lowest_ephemeral_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except OSError:
        return 32_768


def _bindable(port: int) -> int | None:
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return None
        return int(probe.getsockname()[1])
