"""What all real parts share: a folder, one process in it, and the promises of start, stop and kill."""

from __future__ import annotations

import shutil
import signal
import tempfile
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

from testbed.processes import ChildProcess, PartUnavailableError

PartName = Literal["kafka", "registry", "postgres", "prometheus"]


class Part(ABC):
    """A real server on 127.0.0.1, with its data and its log in a temporary folder.

    Ports and addresses are fixed when it is made, so that they are the same after a restart. `stop` and
    `kill` keep the data; leaving the context (or `close`) removes it. The folder of a part that failed to
    start stays, for its log.
    """

    name: ClassVar[PartName]
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    start_timeout_seconds: ClassVar[float] = 90.0

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"penstock-{self.name}-"))
        # Others may walk through the folder (Postgres runs as a user of its own), not list it.
        self.directory.chmod(0o711)
        self._remove = weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        self._process: ChildProcess | None = None
        self._prepared = False
        self.start_seconds: float | None = None

    @classmethod
    @abstractmethod
    def missing(cls) -> str | None:
        """Why this part can't be started on this machine and how to get it; None when it can."""

    @property
    def log_path(self) -> Path:
        """Where all output of the part goes; starts append."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id of the server while it runs, else None."""
        return self._process.pid if self._process is not None and self._process.running else None

    @property
    def running(self) -> bool:
        """Whether its process lives; it may not answer yet."""
        return self.pid is not None

    def start(self) -> Self:
        """Start it on the data it has; returns once it answers, at once if it runs already.

        `start_seconds` then holds the seconds it took, a first download not counted.
        PartUnavailableError: it can't be had here. PartError: it ended. TimeoutError: it never answered.
        """
        if self.running:
            return self
        reason = self.missing()
        if reason is not None:
            raise PartUnavailableError(reason)
        self._fetch()
        began = time.monotonic()
        try:
            self._launch()
        except BaseException:
            self._remove.detach()
            self.kill()
            raise
        self.start_seconds = time.monotonic() - began
        return self

    def stop(self) -> None:
        """Shut it down in order; its data stay. Nothing happens if it does not run."""
        if self._process is not None:
            self._process.stop(self.stop_signal)

    def kill(self) -> None:
        """SIGKILL it and its children, as a crash would; its data stay. Returns once they are gone."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same data and ports."""
        self.stop()
        return self.start()

    def close(self) -> None:
        """Stop it and remove its folder; it can't be started again."""
        self.stop()
        self._remove()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """The command that serves in the foreground."""

    @abstractmethod
    def _ready(self) -> bool:
        """Whether it answers now; takes at most a second or two."""

    def _fetch(self) -> None:  # noqa: B027 - a hook
        """Get the program if this machine lacks it; PartUnavailableError when that fails."""

    def _prepare(self) -> None:  # noqa: B027 - a hook
        """Make the data folder, once, before the first start."""

    def _user(self) -> str | None:
        """The system user to run as; None is our own."""
        return None

    def _launch(self) -> None:
        if not self._prepared:
            self._prepare()
            self._prepared = True
        self._process = ChildProcess(self.name, self._command(), self.log_path, user=self._user())
        self._process.start()
        self._process.wait_until(self._ready, self.start_timeout_seconds, f"{self.name} is ready")
