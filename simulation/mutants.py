"""Deliberate breaks of the rules: what the simulation is worth is that it catches each (``docs/mutants.md``).

A mutant is a context manager that replaces a piece of the real code. Beside it stand the faults that it needs to show:
they are made more frequent, the world stays the same. The breaks are in :mod:`simulation.breaks_of_commits`,
:mod:`simulation.breaks_of_the_fold` and :mod:`simulation.breaks_of_views`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

Break = Callable[[], AbstractContextManager[None]]

COMMITS, RESULTS, LETTERS = "every commit", "every result", "letters by key"
VIEWS, STOP = "views at their offsets", "no stop without a loss"
MUST_STOP = "a stop where input is lost"
"""The checks, by their names in the docs."""

_MODULES = ("breaks_of_commits", "breaks_of_the_fold", "breaks_of_views")
_known: dict[str, "Mutant"] = {}


@dataclass(frozen=True)
class Mutant:
    """A break: what it does in a sentence, what catches it, and the faults that are made likely."""

    breaks: Break
    what: str
    caught_by: str
    rates: Mapping[str, float] = field(default_factory=dict)


def mutant(*caught_by: str, **rates: float) -> Callable[[Callable[[], Iterator[None]]], Break]:
    """Register a break under its function's name; the function's docstring says what it does."""

    def register(function: Callable[[], Iterator[None]]) -> Break:
        made = contextmanager(function)
        faults = {kind.replace("_", " "): rate for kind, rate in rates.items()}
        what = " ".join((function.__doc__ or "").split()).removesuffix(".")
        _known[function.__name__.replace("_", "-")] = Mutant(made, what, ", ".join(caught_by), faults)
        return made

    return register


def mutants() -> Mapping[str, Mutant]:
    """Return all mutants by name."""
    for module in _MODULES:
        import_module(f"simulation.{module}")
    return _known


@contextmanager
def patched(owner: Any, **attributes: Any) -> Iterator[None]:
    """Replace attributes of a class or a module for as long as the block runs."""
    before = {name: owner.__dict__[name] for name in attributes}
    for name, value in attributes.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)


def table() -> str:
    """Return the table of ``docs/mutants.md``."""
    rows = [f"| `{name}` | {mutant.what} | {mutant.caught_by} |" for name, mutant in mutants().items()]
    return "\n".join(["| mutant | what it does | caught by |", "|---|---|---|", *rows]) + "\n"


@contextmanager
def mutated(name: str) -> Iterator[Mutant]:
    """Break the real code for as long as the block runs."""
    chosen = mutants()[name]
    with chosen.breaks():
        yield chosen
