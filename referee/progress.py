"""How far a verification is: a bar on a terminal, else nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress as Bar


class Progress(Protocol):
    """Is told how far a verification is."""

    def begin(self, offsets: int) -> None:
        """There are ``offsets`` to read in all."""

    def advance(self, offsets: int, now: str) -> None:
        """``offsets`` more are done; ``now`` says in words what is being done."""


class Silent:
    """Tells nobody."""

    def begin(self, offsets: int) -> None:
        """See :class:`Progress`."""

    def advance(self, offsets: int, now: str) -> None:
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
    with Bar(*columns, console=console, transient=True) as bar:
        yield _Shown(bar)


class _Shown:
    def __init__(self, bar: "Bar") -> None:
        self._bar = bar
        self._task = bar.add_task("reading", total=None)

    def begin(self, offsets: int) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, total=offsets)

    def advance(self, offsets: int, now: str) -> None:
        """See :class:`Progress`."""
        self._bar.update(self._task, advance=offsets, description=now)
