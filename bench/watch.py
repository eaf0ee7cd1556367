"""A child process whose use of CPU and memory is sampled from outside."""

import json
import math
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from testbed.processes import ChildProcess, log_tail

SAMPLE_EVERY_S = 0.02
_TIMEOUT_S = 600.0


class Sample(NamedTuple):
    """CPU seconds (user and system, all threads, children that live) that were used by a time of the wall clock."""

    at: float
    cpu_s: float
    rss_bytes: int


class Watched:
    """A child under watch, looked at every ``every_s``. CPU time has the kernel's resolution of 10 ms."""

    def __init__(
        self,
        name: str,
        command: list[str],
        log: Path,
        environment: dict[str, str],
        folder: Path,
        every_s: float = SAMPLE_EVERY_S,
    ) -> None:
        self._every_s = every_s
        self._child = ChildProcess(name, command, log, env=environment, cwd=folder)
        self._log = log
        self._samples: list[Sample] = []
        self._stopping = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._child.start()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def stop(self) -> None:
        """End it in order. Raises nothing when it has ended."""
        self._child.stop()
        self._stopping.set()
        self._sampler.join()

    def kill(self) -> float:
        """SIGKILL it; return when, by the wall clock."""
        at = time.time()
        self._child.kill()
        self.stop()
        return at

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait while it runs. Raises :class:`testbed.processes.PartError` if it ends before."""
        self._child.wait_until(condition, _TIMEOUT_S, what)

    def wait(self, lasts_s: float = 0.0) -> int:
        """Wait for its end, which is to come after about ``lasts_s``, and return its exit code."""
        deadline = time.monotonic() + lasts_s + _TIMEOUT_S
        while self._child.running:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._child.name} did not end in {lasts_s + _TIMEOUT_S:.0f} s")
            time.sleep(SAMPLE_EVERY_S)
        self._stopping.set()
        self._sampler.join()
        return self._child.returncode or 0

    def logged_at(self, event: str) -> float | None:
        """Return when it logged ``event`` first (it logs as JSON), by the wall clock; None if it has not."""
        line = self.logged(event)
        return datetime.fromisoformat(line["timestamp"]).timestamp() if line else None

    def logged(self, event: str) -> dict[str, Any]:
        """Return the first line that it logged about ``event``; empty if there is none."""
        for line in self._log.read_text(errors="replace").splitlines():
            if f'"event": "{event}"' in line:
                found: dict[str, Any] = json.loads(line)
                return found
        return {}

    def said_last(self) -> str:
        """Return the end of its log."""
        return log_tail(self._log)

    def cpu_between(self, begin: float, end: float) -> float:
        """Return the CPU seconds used between two times of the wall clock."""
        return self._cpu_at(end) - self._cpu_at(begin)

    def peak_rss_bytes(self, begin: float = 0.0, end: float = math.inf) -> int:
        """Return the most memory seen in use, between two times of the wall clock; 0 where nobody looked."""
        return max((sample.rss_bytes for sample in self.between(begin, end)), default=0)

    def between(self, begin: float, end: float) -> list[Sample]:
        """Return what was seen between two times of the wall clock."""
        return [sample for sample in self._samples if begin <= sample.at <= end]

    def _cpu_at(self, moment: float) -> float:
        """Return the CPU seconds used by ``moment``, between samples along a line."""
        samples = self._samples
        index = bisect_left(samples, moment, key=lambda sample: sample.at)
        if index == 0:
            return samples[0].cpu_s
        if index == len(samples):
            return samples[-1].cpu_s
        before, after = samples[index - 1], samples[index]
        share = (moment - before.at) / (after.at - before.at)
        return before.cpu_s + share * (after.cpu_s - before.cpu_s)

    def _sample(self) -> None:
        process = psutil.Process(self._child.pid)
        while not self._stopping.wait(self._every_s):
            try:
                family = [process, *process.children(recursive=True)]
                cpu = sum(times.user + times.system for times in (member.cpu_times() for member in family))
                rss = sum(member.memory_info().rss for member in family)
            except psutil.Error:
                continue
            if not self._samples or cpu >= self._samples[-1].cpu_s:
                self._samples.append(Sample(time.time(), cpu, rss))
