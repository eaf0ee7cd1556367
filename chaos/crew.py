"""The stages of a scenario as processes, and who starts them again when they end, at once, as compose would."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.result import Result
from chaos.watch import Side
from penstock.errors import ExitCode
from testbed.pipeline import Pipeline, Stage
from testbed.processes import ChildProcess, free_port

LOOK_EVERY_S = 0.05
STOP_TIMEOUT_S = 30.0
OK, NOBODY = 200, 0
SIDES: dict[str, Side] = {"load": "producers", "process": "processors", "materialize": "consumers"}
"""Which stage a command is."""

Words = Callable[[int], Sequence[str | Path]]
"""The command line of a stage's life, by number from 0."""


def penstock(command: str) -> Words:
    """Return the words of ``penstock COMMAND``, the same in each life."""
    return lambda _life: ("-m", "penstock", command)


@dataclass
class Member:
    """A stage that should run. ``once`` is more environment for its next lives, each of one life only."""

    name: str
    command: str
    words: Words
    environment: Mapping[str, str]
    once: list[Mapping[str, str]] = field(default_factory=list)
    lives: int = 0
    stage: Stage | None = None
    paused: bool = False
    armed: bool = False
    """Whether this life may end at a failpoint."""
    killed: bool = False
    """Whether its last end was asked for, by SIGKILL."""

    @property
    def running(self) -> bool:
        """Whether its process lives, frozen or not."""
        return self.stage is not None and self.stage.child.running

    @property
    def side(self) -> Side:
        """Which stage it is."""
        return SIDES[self.command]


class Crew:
    """All members, and the thread that starts again who ended. Exit code 4 is a loud stop: nobody is started again."""

    def __init__(self, pipeline: Pipeline, result: Result) -> None:
        self.members: dict[str, Member] = {}
        self.stopped: dict[str, Stage] = {}
        """Who ended with exit code 4."""
        self.ended_at_failpoint: Callable[[Member], None] = lambda _member: None
        self._pipeline = pipeline
        self._result = result
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self._thread.start()

    def add(self, member: Member) -> None:
        """Start a stage that has not been there."""
        with self._lock:
            if member.name in self.members:
                raise ValueError(f"{member.name} is there already")
            self.members[member.name] = member
            self._start(member)

    def named(self, command: str) -> list[Member]:
        """Return those that run a command, in the order of their names."""
        return [self.members[name] for name in sorted(self.members) if self.members[name].command == command]

    def works(self, name: str) -> bool:
        """Say if it does its work: not frozen, not starting."""
        member = self.members[name]
        return not member.paused and _stage(member).ask("/ready").status == OK

    def all_work(self) -> bool:
        """Say if each does its work, but for those that are frozen."""
        return all(self.works(name) for name in list(self.members) if not self.members[name].paused)

    def kill(self, name: str) -> None:
        """SIGKILL it; the supervisor starts it again."""
        with self._lock:
            member = self.members[name]
            child = _child(member)
            if not child.running:
                return
            member.killed, member.paused = True, False
            self._result.kills += 1
            child.kill()

    def pause(self, name: str) -> None:
        """SIGSTOP it."""
        member = self.members[name]
        member.paused = True
        _child(member).send(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        """SIGCONT it."""
        member = self.members[name]
        member.paused = False
        _child(member).send(signal.SIGCONT)

    def remove(self, name: str, *, codes: Sequence[int] = (0,)) -> None:
        """SIGTERM it and wait for its end, for good. Raises AssertionError for another exit code than ``codes``.

        One that is still so young that it serves no HTTP may just die of the signal.
        """
        with self._lock:
            member = self.members.pop(name)
        child = _child(member)
        was_running = child.running
        if not member.paused and _stage(member).ask("/live").status == NOBODY:
            codes = (*codes, -signal.SIGTERM)
        child.stop(timeout=STOP_TIMEOUT_S)
        self._result.stops += 1
        if member.armed and child.returncode == -signal.SIGKILL:
            self._result.kills += 1
        elif was_running and child.returncode not in codes:
            raise AssertionError(f"{name} ended with {child.returncode} after SIGTERM; its log: {child.log}")

    def close(self) -> None:
        """End all, whatever they do."""
        self._closing.set()
        self._thread.join(timeout=30.0)
        for member in self.members.values():
            _child(member).kill()
        self.members.clear()

    def _supervise(self) -> None:
        while not self._closing.wait(LOOK_EVERY_S):
            with self._lock:
                for member in [m for m in self.members.values() if not m.running]:
                    self._start_again(member)

    def _start_again(self, member: Member) -> None:
        code = _child(member).returncode
        if code == ExitCode.STOPPED:
            self.stopped[member.name] = _stage(member)
            del self.members[member.name]
            return
        if code == -signal.SIGKILL and not member.killed:
            self._result.kills += 1
            self.ended_at_failpoint(member)
        elif not member.killed:
            self._result.ended(member.command, code)
        self._result.restarts += 1
        self._start(member)

    def _start(self, member: Member) -> None:
        port = free_port()
        once = member.once.pop(0) if member.once else {}
        member.armed = bool(once)
        settings = {"PENSTOCK_HTTP_PORT": str(port), **member.environment, **once}
        child = ChildProcess(
            member.name,
            [sys.executable, *member.words(member.lives)],
            self._pipeline.folder / f"{member.name}.log",
            env=self._pipeline.environment(settings),
            cwd=self._pipeline.folder,
        )
        member.lives += 1
        member.killed = member.paused = False
        member.stage = Stage(member.name, child, port)
        child.start()


def _stage(member: Member) -> Stage:
    if member.stage is None:
        raise ValueError(f"{member.name} was never started")
    return member.stage


def _child(member: Member) -> ChildProcess:
    return _stage(member).child
