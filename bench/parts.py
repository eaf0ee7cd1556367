"""The parts of a benchmark, one after the other: one that fails does not cost the others."""

import sqlite3
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import httpx

from bench.answers import WrongAnswerError
from penstock.errors import PenstockError
from testbed.processes import PartError

T = TypeVar("T")
ERRORS = (WrongAnswerError, PartError, PenstockError, TimeoutError, RuntimeError, httpx.HTTPError, sqlite3.Error)
"""What a measurement may raise."""


def measure_parts(
    parts: Mapping[str, Callable[[], Iterable[T]]], tell: Callable[[T], None]
) -> tuple[list[T], list[str]]:
    """Return what the parts found, each told when it is found, and a line for each part that failed."""
    found: list[T] = []
    failures = []
    for name, part in parts.items():
        try:
            for one in part():
                tell(one)
                found.append(one)
        except ERRORS as error:
            sys.stderr.write(f"bench: {name}: {error}\n")
            failures.append(f"{name}: {(str(error) or repr(error)).splitlines()[0]}")
    return found, failures
