"""How far a long piece of work is: a bar on a terminal, else nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress(Protocol):
    """Is told how far a piece of work is, in events or offsets."""

    def begin(self, total: int) -> None:
        """There are ``total`` to do in all. What never begins is never shown."""

    def advance(self, done: int, now: str) -> None:
        """``done`` more are done; ``now`` says in words what is being done."""


class Silent:
    """Tells nobody."""

    def begin(self, total: int) -> None:
        """See :class:`Progress`."""

    def advance(self, done: int, now: str) -> None:
        """See :class:`Progress`."""


@contextmanager
def shown_on_stderr() -> Iterator[Progress]:
    """Show a bar on standard error while the block runs, if that is a terminal; it is gone afterwards."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not console.is_terminal:
        yield Silent()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Bar(*columns, console=console, transient=True)
    try:
        yield _Shown(bar)
    finally:
        if bar.live.is_started:
            bar.stop()


class _Shown:
    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._task = bar.add_task("begins", total=None)

    def begin(self, total: int) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, total=total)
        self._bar.start()

    def advance(self, done: int, now: str) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, advance=done, description=now)
