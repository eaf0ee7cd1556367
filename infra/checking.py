"""Steps of a check, and waiting for what must become true."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import psycopg

T = TypeVar("T")


class CheckError(Exception):
    """The stack does not hold what it promises."""


def until(what: str, probe: Callable[[], T], holds: Callable[[T], bool], deadline_s: float) -> T:
    """Return the first answer of ``probe`` that ``holds``. Raises :class:`CheckError` with the last one."""
    began, last = time.monotonic(), "nothing"
    while time.monotonic() - began < deadline_s:
        try:
            value = probe()
        except (httpx.HTTPError, psycopg.Error) as error:
            last = f"{type(error).__name__}: {error}"
        else:
            if holds(value):
                say(f"{what} ({time.monotonic() - began:.0f} s)")
                return value
            last = repr(value)
        time.sleep(1)
    raise CheckError(f"not within {deadline_s:.0f} s: {what}; last seen: {last}")


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"  {line}\n")
    sys.stdout.flush()


@contextmanager
def step(title: str) -> Iterator[None]:
    """Name a part of the check, and say how long it took."""
    sys.stdout.write(f"{title}\n")
    sys.stdout.flush()
    began = time.monotonic()
    yield
    say(f"done in {time.monotonic() - began:.0f} s")
