"""What came of one peer and one job: a figure, and whether its answers are right."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.peers.judge import Verdict
from bench.report import Figure, machine

RESULTS = Path(__file__).parent.parent / "results" / "peers.json"


@dataclass(frozen=True)
class Outcome:
    """One peer, one job, one run."""

    peer: str
    version: str
    job: str
    figure: Figure
    verdict: Verdict
    settings: str = ""
    told: str = ""
    """What the peer itself says of late or dropped events."""

    def as_json(self) -> dict[str, Any]:
        """Return it flat, as the report reads it."""
        figure = self.figure.as_json()
        del figure["stage"], figure["variant"]
        names = {"peer": self.peer, "version": self.version, "job": self.job, "settings": self.settings}
        judged = asdict(self.verdict) | {"all_right": self.verdict.all_right, "verdict": self.verdict.told()}
        return names | figure | judged | {"told": self.told}


@dataclass(frozen=True)
class Failure:
    """A peer that gave no answer, and why; ``absent`` when it can't be had here."""

    peer: str
    job: str
    reason: str
    absent: bool


def middle(runs: Sequence[Outcome]) -> Outcome:
    """Return the one in the middle by events per CPU second."""
    ordered = sorted(runs, key=lambda run: run.figure.per_cpu_second)
    rate = statistics.median_high(run.figure.per_cpu_second for run in ordered)
    return next(run for run in ordered if run.figure.per_cpu_second == rate)


def ratios(outcomes: Sequence[Outcome], ours: str) -> list[dict[str, Any]]:
    """Return how many times as fast ``ours`` is as each other peer, by job: per CPU second and by the clock."""
    found = []
    for one in outcomes:
        mine = next((other for other in outcomes if (other.peer, other.job) == (ours, one.job)), None)
        if mine is not None and not one.peer.startswith("Penstock"):
            found.append({
                "job": one.job,
                "peer": one.peer,
                "per_cpu_second": round(mine.figure.per_cpu_second / one.figure.per_cpu_second, 1),
                "per_second": round(mine.figure.per_second / one.figure.per_second, 1),
            })  # fmt: skip
    return found


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print the table."""
    table = Table(title="The same topic, the same job", title_justify="left")
    for name in ("job", "peer", "version"):
        table.add_column(name)
    for name in ("events", "events/s", "per CPU second", "MB"):
        table.add_column(name, justify="right")
    table.add_column("answers")
    table.add_column("it says")
    for one in outcomes:
        figure = one.figure
        numbers = (figure.events, figure.per_second, figure.per_cpu_second, figure.rss_mb)
        told = (f"{number:,.0f}" for number in numbers)
        table.add_row(one.job, one.peer, one.version, *told, one.verdict.told(), one.told)
    console.print(table)


def write(
    path: Path, outcomes: Sequence[Outcome], runs: Sequence[Outcome], failures: Sequence[Failure], sizes: dict[str, int]
) -> None:
    """Write all of a run as JSON, with what is known of the machine."""
    document = {
        "kind": "peers",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "sizes": sizes,
        "outcomes": [one.as_json() for one in outcomes],
        "ratios": ratios(outcomes, "Penstock, one metric"),
        "failures": [asdict(failure) for failure in failures],
        "runs": [one.as_json() for one in runs],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
