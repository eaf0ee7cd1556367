"""RELIABILITY.md, made of the results of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Literal

from chaos.result import Result

GOAL_P50_S = 10.0

Recovery = Literal["stages", "parts", "others"]

ORDER: tuple[Recovery, ...] = ("stages", "parts", "others")
STAGES = ("producers", "processors", "consumers")
AT_WORK = ("killed at work", "killed at a failpoint", "frozen")
PROOF = ("lost", "doubled")

MEASURED = """\
Every scenario runs the stages as processes on a real Kafka, a real registry, and SQLite or Postgres, under a load of
orders and telemetry with 5 % duplicates, 5 % late events, disorder and broken records. A stage that ends is started
again at once, as compose does it. At the end of each play all panes are closed, `penstock verify` recomputes every
number from the log, and the producers' own lists of acknowledgements are held against the topics (each acknowledged
record is at its offset, byte for byte), the books (each fate) and the views.

*Recovery* is the time from the kill, or the freeze, until everything that the log held at that moment is settled by the
stage that was hurt: folded and committed, or merged into all views, or, for a producer, until events come again. For
parts (broker, registry, database) it is the time from the moment when the part is back until all that the log holds
then is settled. A session ends after 6 s without a heartbeat: until then a dead worker's partitions wait.
"""


@dataclass(frozen=True)
class Runs:
    """The results of several runs."""

    seeds: list[int]
    machine: Mapping[str, Any]
    results: list[Result]

    def of(self, name: str) -> list[Result]:
        """Return the plays of one scenario."""
        return [result for result in self.results if result.name == name]


def read_runs(files: Iterable[Path]) -> Runs:
    """Read ``results.json`` files. Raises OSError, ValueError or TypeError for what is none."""
    documents = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    results = [Result.from_json(raw) for document in documents for raw in document["scenarios"]]
    return Runs([document["seed"] for document in documents], documents[0]["machine"], results)


def recovery_of(what: str) -> Recovery:
    """Tell whose recovery it is: that of a stage that did its work, of a part, or another, which shows in detail only.

    Others are those of stages that were still starting, and of the whole after several faults.
    """
    side, _, how = what.partition(" ")
    if side in STAGES:
        return "stages" if how in AT_WORK else "others"
    return "others" if what.startswith("all, after") else "parts"


def recoveries(results: Iterable[Result], whose: Recovery) -> list[float]:
    """Return recovery times in seconds."""
    found = ((what, seconds) for result in results for what, each in result.recoveries_s.items() for seconds in each)
    return [seconds for what, seconds in found if recovery_of(what) == whose]


def write_report(files: Sequence[Path], output: Path) -> None:
    """Write ``output`` from the ``results.json`` of runs. Raises as :func:`read_runs` does."""
    output.write_text(report(read_runs(files)), encoding="utf-8")


def report(runs: Runs) -> str:
    """Return the report in Markdown."""
    parts = [_head(runs), MEASURED, "## By fault\n", _by_fault(runs), "## Recovery by what was hurt\n", _by_hurt(runs)]
    parts += ["## Ends that nobody asked for\n", _unasked(runs)]
    return "\n".join(parts)


def _head(runs: Runs) -> str:
    results, machine = runs.results, runs.machine
    failed = [result for result in results if result.outcome == "failed"]
    total = {name: sum(getattr(r, name) for r in results) for name in ("rounds", "events", "kills", "part_kills")}
    total |= {name: sum(getattr(r, name) or 0 for r in results) for name in ("zombies", "faults", "lost", "doubled")}
    stages, parts = (_spread(recoveries(results, whose)) for whose in ("stages", "parts"))
    return f"""\
# Reliability

Written by `python -m chaos report` from the results of {_count(runs.seeds)} of `make chaos`, seeds \
{", ".join(map(str, runs.seeds))}, on {machine["cores"]} cores, Python {machine["python"]}, Kafka {machine["kafka"]}.

| | |
|---|--:|
| plays of scenarios, rounds | {len(results)}, {total["rounds"]} |
| plays that failed | {len(failed)} |
| events acknowledged and proved | {total["events"]:,} |
| SIGKILLs of stages | {total["kills"]} |
| SIGKILLs of brokers and databases | {total["part_kills"]} |
| zombies (SIGSTOP past the session, SIGCONT) | {total["zombies"]} |
| other faults | {total["faults"] - total["part_kills"]} |
| recovery of stages killed or frozen at work (goal: p50 under {GOAL_P50_S:.0f} s) | {stages} |
| recovery after faults of parts and input | {parts} |
| events lost | **{total["lost"]}** |
| events counted twice | **{total["doubled"]}** |
"""


def _count(seeds: Sequence[int]) -> str:
    return "one run" if len(seeds) == 1 else f"{len(seeds)} runs"


def _spread(times: Sequence[float]) -> str:
    return f"p50 {median(times):.1f} s, max {max(times):.1f} s" if times else ""


def _by_fault(runs: Runs) -> str:
    lines = [
        "| fault | plays | rounds | events | kills | zombies | other | recovery p50 | max | lost | doubled |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name in dict.fromkeys(result.name for result in runs.results):
        lines.append(_fault_line(runs.of(name)))
    return "\n".join([*lines, ""])


def _fault_line(plays: Sequence[Result]) -> str:
    first, times = plays[0], recoveries(plays, "stages") or recoveries(plays, "parts")
    stops = all(play.outcome == "stopped as promised" for play in plays)
    proof = ("stopped as promised", "") if stops else tuple(_sum(getattr(play, key) for play in plays) for key in PROOF)
    kills = sum(play.kills + play.part_kills for play in plays)
    other = sum(play.faults - play.part_kills + play.stops for play in plays)
    cells = [
        f"{first.name}: {first.fault}", len(plays), sum(play.rounds for play in plays),
        f"{sum(play.events for play in plays):,}", kills, sum(play.zombies for play in plays), other,
        f"{median(times):.1f} s" if times else "", f"{max(times):.1f} s" if times else "", *proof,
    ]  # fmt: skip
    return f"| {' | '.join(map(str, cells))} |"


def _sum(numbers: Iterable[int | None]) -> str:
    found = list(numbers)
    return "?" if None in found else str(sum(number for number in found if number is not None))


def _by_hurt(runs: Runs) -> str:
    times: dict[str, list[float]] = {}
    for result in runs.results:
        for what, each in result.recoveries_s.items():
            times.setdefault(what, []).extend(each)
    lines = ["| what | times | p50 | p95 | max |", "|---|--:|--:|--:|--:|"]
    for what, each in sorted(times.items(), key=lambda item: (ORDER.index(recovery_of(item[0])), item[0])):
        p95 = sorted(each)[int(0.95 * (len(each) - 1))]
        lines.append(f"| {what} | {len(each)} | {median(each):.1f} s | {p95:.1f} s | {max(each):.1f} s |")
    return "\n".join([*lines, ""])


def _unasked(runs: Runs) -> str:
    ends: dict[tuple[str, str], int] = {}
    for result in runs.results:
        for end, count in result.exits.items():
            ends[result.name, end] = ends.get((result.name, end), 0) + count
    if not ends:
        return "None: no stage ended but by a signal that the scenario sent.\n"
    lines = ["| scenario | stage: exit code | times |", "|---|---|--:|"]
    return "\n".join([*lines, *(f"| {name} | {end} | {count} |" for (name, end), count in sorted(ends.items())), ""])
