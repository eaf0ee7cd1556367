"""RELIABILITY.md, made of the results of runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write_report(results: Sequence[Path], output: Path) -> None:
    """Write ``output``."""
    raise NotImplementedError
