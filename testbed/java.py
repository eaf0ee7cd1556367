"""Java programs: a JVM that is new enough, and programs fetched once with Maven into a cache folder."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from testbed.processes import PartUnavailableError

FETCH_TIMEOUT_SECONDS = 600.0
JVM_FOLDER = Path("/usr/lib/jvm")

# For tests: starts sooner and takes less CPU, but peaks lower than the full compiler. Not for benches.
QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")


def cache_folder() -> Path:
    """Where fetched programs are kept: `penstock` below XDG_CACHE_HOME, or below ~/.cache."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "penstock"


def find_java(at_least: int) -> Path | None:
    """A `java` of this major version or newer: from JAVA_HOME, PATH or the folder of JVMs, in this order."""
    return next((java for java in _installed() if _major_version(java) >= at_least), None)


def missing_java(program: str, at_least: int) -> str | None:
    """None if there is a Java that is new enough for the program, else what was found and how to get one."""
    if find_java(at_least) is not None:
        return None
    found = ", ".join(f"{_major_version(java)} at {java}" for java in _installed()) or "none"
    return (
        f"{program} needs Java {at_least} or newer; found in JAVA_HOME, PATH and {JVM_FOLDER}: {found}."
        f" Install one (Debian: apt-get install default-jre-headless), or point JAVA_HOME at one"
    )


def missing_program(program: str, folder: Path) -> str | None:
    """None if the program is in the cache or Maven can be asked for it, else how to get Maven."""
    if folder.exists() or shutil.which("mvn"):
        return None
    return (
        f"{program} is not in {folder}, and there is no mvn in PATH to fetch it."
        f" Install Maven (Debian: apt-get install maven)"
    )


def fetched(folder: Path, fetch: Callable[[Path], None]) -> Path:
    """The folder, filled by `fetch` if it is not there yet: whole or not at all, by one process at a time."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_name(f"{folder.name}.lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
                partial = Path(temporary, "content")
                partial.mkdir()
                fetch(partial)
                partial.rename(folder)
    return folder


def maven(goal: str, *options: str, directory: Path) -> None:
    """Run one Maven goal in a directory; PartUnavailableError with its first error if it fails."""
    command = ["mvn", "--batch-mode", "--quiet", "-Dstyle.color=never", goal, *options]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=FETCH_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise PartUnavailableError(f"`{' '.join(command)}`: not within {FETCH_TIMEOUT_SECONDS:g} s") from None
    if done.returncode != 0:
        said = next((line for line in done.stdout.splitlines() if "[ERROR]" in line), done.stderr)
        raise PartUnavailableError(f"`{' '.join(command)}` failed; can Maven reach a repository? {said}")


def java_options(heap_mb: int, options: Sequence[str]) -> list[str]:
    """The options of a JVM with a heap of at most `heap_mb` MiB; later ones win."""
    return [f"-Xmx{heap_mb}m", "-Djava.net.preferIPv4Stack=true", "-Djava.awt.headless=true", *options]


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _installed() -> list[Path]:
    home = os.environ.get("JAVA_HOME")
    in_path = shutil.which("java")
    candidates = [Path(home, "bin", "java")] if home else []
    candidates += [Path(in_path)] if in_path else []
    candidates += sorted(JVM_FOLDER.glob("*/bin/java"))
    return list(dict.fromkeys(java.resolve() for java in candidates if java.exists()))


@lru_cache(maxsize=64)
def _major_version(java: Path) -> int:
    """17 for `version "17.0.15"`; 0 for what can't be run or understood (and for 1.8, which is too old)."""
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    match = re.search(r'version "(\d+)', done.stderr)
    return int(match.group(1)) if match else 0
