"""The demo's board: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from penstock.demo.scrape import Sample
from penstock.demo.supervisor import Running

PLAIN_EVERY_S = 5.0


class Board:
    """Shows samples. Use as a context manager."""

    def __init__(self, console: Console, processes: list[Running], seconds: int) -> None:
        self._console = console
        self._processes = processes
        self._seconds = seconds
        self._began: float | None = None
        self._before: tuple[float, Sample] | None = None
        self._printed = 0.0
        self._live = Live(console=console, refresh_per_second=4) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def begin(self) -> None:
        """Start the board's clock: events are made from now on."""
        self._began = time.monotonic()

    def say(self, lines: Iterable[str]) -> None:
        """Print lines above the board."""
        for line in lines:
            self._console.print(f"[yellow]{line}[/]", highlight=False)

    def show(self, sample: Sample) -> None:
        """Show a sample; without a terminal a line every five seconds."""
        now = time.monotonic()
        produced, settled = self._rates(now, sample)
        elapsed = "starting" if self._began is None else f"{now - self._began:.0f} s"
        if self._live:
            self._live.update(self._tables(sample, elapsed, produced, settled))
        elif now - self._printed >= PLAIN_EVERY_S:
            self._printed = now
            self._console.print(_line(sample, elapsed, produced), highlight=False, soft_wrap=True)

    def _rates(self, now: float, sample: Sample) -> tuple[float, float]:
        before, self._before = self._before, (now, sample)
        if before is None or now <= before[0]:
            return 0.0, 0.0
        passed = now - before[0]
        return (
            max(sample.produced - before[1].produced, 0) / passed,
            max(sample.settled_total - before[1].settled_total, 0) / passed,
        )

    def _tables(self, sample: Sample, elapsed: str, produced: float, settled: float) -> Group:
        flow = Table(title=f"Penstock, {elapsed} of {self._seconds} s", show_header=False, expand=False)
        flow.add_row("produced / s", f"{produced:,.0f}", "settled / s", f"{settled:,.0f}")
        flow.add_row(
            "lag, processors", f"{sample.lag['processors']:,.0f}", "lag, views", f"{sample.lag['consumers']:,.0f}"
        )
        flow.add_row("watermark behind", f"{sample.watermark_delay_s:.0f} s", "open panes", f"{sample.open_panes:.0f}")
        books = Table(title=f"Books: imbalance {sample.imbalance:.0f}")
        for fate in sample.settled:
            books.add_column(fate, justify="right")
        books.add_row(*(f"{count:,.0f}" for count in sample.settled.values()))
        numbers = Table(title="Out of the views", show_header=False)
        for name, value in sample.numbers.items():
            numbers.add_row(name, value)
        return Group(flow, books, numbers, self._addresses(sample))

    def _addresses(self, sample: Sample) -> Table:
        table = Table(title="Processes", show_header=False)
        for process in self._processes:
            if process.child.is_producer and process.ended is not None:
                continue
            up = sample.up.get(process.child.name)
            state = "[green]up[/]" if up else "[yellow]starting[/]"
            address = f"http://127.0.0.1:{process.child.port}/metrics"
            table.add_row(process.child.name, f"pid {process.process.pid}", address, state)
        return table


def _line(sample: Sample, elapsed: str, produced: float) -> str:
    fates = ", ".join(f"{fate} {count:,.0f}" for fate, count in sample.settled.items())
    numbers = ", ".join(f"{name} {value}" for name, value in sample.numbers.items())
    return (
        f"{elapsed:>8}  produced {produced:,.0f}/s  lag {sample.lag['processors']:,.0f} + "
        f"{sample.lag['consumers']:,.0f}  watermark {sample.watermark_delay_s:.0f} s behind  "
        f"books: {fates or 'empty'}, imbalance {sample.imbalance:.0f}  views: {numbers or 'empty'}"
    )
