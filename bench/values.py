"""A run that measures single numbers on real parts: from its parts to its goals and its results."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.bed import Bed, real_bed
from bench.goals import judge
from bench.measured import Value
from bench.parts import ERRORS, measure_parts
from bench.report import document, show_goals, write

Parts = Mapping[str, Callable[[Bed], Iterator[Value]]]
"""What is measured, by name."""


def measure_values(kind: str, parts: Parts, sizes: Mapping[str, Any], output: Path | None) -> int:
    """Measure ``parts``; print all values and the goals of ``kind``, and write them to ``output`` (None: nowhere).

    Returns 1 when a part failed or a goal was missed.
    """
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        with real_bed(postgres=False) as bed:
            bound = {name: partial(part, bed) for name, part in parts.items()}
            values, failures = measure_parts(bound, lambda value: console.print(str(value), highlight=False))
    except ERRORS as error:
        sys.stderr.write(f"bench: {error}\n")
        return 1
    result = document(kind, sizes, values) | {"failures": failures}
    verdicts = [verdict for verdict in judge({kind: result}, [kind]) if verdict.measured is not None]
    show_goals(console, verdicts)
    if output is not None:
        write(output, result)
        console.print(f"written to {output.name}")
    return 0 if not failures and all(verdict.word == "reached" for verdict in verdicts) else 1
