"""A file system that really is full: a small tmpfs where one can be mounted, else a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

BALLAST = "ballast"
CHUNK_BYTES = 1 << 16
UMOUNT_TIMEOUT_S = 30.0

Kind = Literal["tmpfs", "file size limit"]


class SmallDisk:
    """The folder ``path`` on a disk of its own of ``size_mb`` MiB, which can be filled to the last byte and emptied.

    Without the right to mount (``kind`` then is "file size limit"), the processes that are given to :meth:`fill` can't
    make a file larger than it is: their writes fail just as well, with another code (EFBIG in place of ENOSPC).
    """

    def __init__(self, path: Path, size_mb: int = 48) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.kind: Kind = "tmpfs" if _mounted(path, size_mb) else "file size limit"
        self._limited: dict[int, tuple[int, int]] = {}

    def fill(self, database: Path, pid: int) -> None:
        """Leave no room: ``database`` is the file that process ``pid`` must not be able to grow."""
        if self.kind == "file size limit":
            self._limit(database, pid)
            return
        with (self.path / BALLAST).open("wb", buffering=0) as ballast:
            for size in (CHUNK_BYTES, 512):
                with suppress(OSError):  # full: that is what is wanted
                    while True:
                        ballast.write(bytes(size))

    def empty(self) -> None:
        """Make room again."""
        (self.path / BALLAST).unlink(missing_ok=True)
        for pid, limits in self._limited.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        self._limited.clear()

    def close(self) -> None:
        """Unmount it: what it held is gone."""
        self.empty()
        if self.kind == "tmpfs":
            subprocess.run(["umount", "--lazy", self.path], check=True, timeout=UMOUNT_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _limit(self, database: Path, pid: int) -> None:
        wal = Path(f"{database}-wal")
        written = wal if wal.exists() and wal.stat().st_size else database
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # The soft limit only: without the hard one it can be raised again. Python ignores SIGXFSZ, so writes just fail.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (written.stat().st_size, before[1]))
        self._limited[pid] = before


def _mounted(path: Path, size_mb: int) -> bool:
    """Mount a tmpfs if we may."""
    if os.geteuid() != 0:
        return False
    words = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0777", "tmpfs", str(path)]
    try:
        return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
