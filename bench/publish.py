"""``penstock-bench report``: the tables and the plot of the docs, out of the raw results. Needs no part and no peer."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.goals import PEERS, SIZE_COST, SOAK, STAGES, judge
from bench.plot import Bar, bars

RESULTS = Path("bench/results")
PLOT = Path("docs/peers.svg")
PAGES = (Path("README.md"), Path("docs/performance.md"))
COMMANDS = {
    STAGES: "`make bench`", PEERS: "`make bench-peers`",
    SOAK: "`make bench-soak`, memory", SIZE_COST: "`make bench-soak`, cost by size",
}  # fmt: skip
JOBS = {
    "orders": "orders by minute and country (count, revenue)",
    "telemetry": "readings by minute and device (count, sum, min, max)",
}
Result = Mapping[str, Any]


class PublishError(Exception):
    """There is nothing to publish, or nowhere to put it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; with ``--write`` put them between their marks in the pages, and draw the plot."""
    options = _parser().parse_args(arguments)
    try:
        blocks = made(load(options.results))
        if options.write:
            _write(options.pages, blocks, options.plot)
        else:
            print("\n".join(blocks[name] for name in blocks if name != "plot"))
    except (OSError, ValueError, PublishError) as error:
        sys.stderr.write(f"penstock-bench: {error}\n")
        return 1
    return 0


def load(folder: Path) -> dict[str, Result]:
    """Return the results of a folder by kind: ``stages``, ``soak``, ``size-cost`` and ``peers``.

    The newest of a kind counts. Raises :class:`PublishError` when there is none.
    """
    found: dict[str, Result] = {}
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text())
        kind = result.get("kind") or ("stages" if "figures" in result else None)
        if kind is not None and (kind not in found or found[kind]["at"] < result["at"]):
            found[kind] = result
    if not found:
        raise PublishError(f"no results in {folder}: run make bench or make bench-peers first")
    return found


def made(results: Mapping[str, Result]) -> dict[str, str]:
    """Return the blocks that there are, in Markdown; ``plot`` as SVG.

    These are ``goals``, ``stages`` and ``live`` (``make bench``), ``soak`` and ``size-cost`` (``make bench-soak``), and
    ``peers`` with its ``summary``.
    """
    blocks = {"goals": goals_table(results)}
    if "stages" in results:
        blocks["stages"] = stages_table(results["stages"])
    for kind, name in ((STAGES, "live"), (SOAK, "soak"), (SIZE_COST, "size-cost")):
        if results.get(kind, {}).get("values"):
            blocks[name] = values_table(results[kind])
    if "peers" in results:
        blocks["summary"] = summary_table(results["peers"])
        blocks["peers"] = peers_table(results["peers"])
        blocks["plot"] = peers_plot(results["peers"])
    return blocks


def goals_table(results: Mapping[str, Result]) -> str:
    """Return what was to be reached, and what was, in Markdown."""
    head = [_row("what", "goal", "measured", ""), _row("---", "---:", "---:", "---")]
    rows = [_row(one.goal.what, str(one.goal), one.found, one.word) for one in judge(results)]
    origins = [f"- {COMMANDS[kind]}: {_provenance(results[kind])}" for kind in COMMANDS if kind in results]
    return "\n".join([*head, *rows, "", *origins]) + "\n"


def stages_table(result: Result) -> str:
    """Return the table of ``make bench`` in Markdown."""
    head = _table_head(("stage", "job"), ("events/s", "per CPU second", "MB"))
    rows = [
        _row(row["stage"], row["variant"], *_numbers(row, ("per_second", "per_cpu_second", "rss_mb")))
        for row in result.get("figures", ())
    ]
    return "\n".join([*head, *rows, "", _provenance(result)]) + "\n"


def values_table(result: Result) -> str:
    """Return the single numbers of a run in Markdown."""
    rows = [_row(row["name"], f"{row['value']:,} {row['unit']}", row["note"]) for row in result["values"]]
    return "\n".join([*_table_head(("what",), ("measured",), ""), *rows, "", _provenance(result)]) + "\n"


def peers_table(result: Result) -> str:
    """Return the tables of ``make bench-peers`` in Markdown, one a job, the fastest per CPU second first."""
    lines = []
    for job, title in JOBS.items():
        rows = sorted(
            (row for row in result["outcomes"] if row["job"] == job), key=lambda row: -float(row["per_cpu_second"])
        )
        if not rows:
            continue
        lines += [
            f"**{title}**",
            "",
            *_table_head(("system",), ("events", "events/s", "per CPU second", "MB"), "answers"),
        ]
        for row in rows:
            numbers = _numbers(row, ("events", "per_second", "per_cpu_second", "rss_mb"))
            lines.append(_row(f"{row['peer']} ({row['version']})", *numbers, _answers(row)))
        lines.append("")
    for failure in result["failures"]:
        lines += [f"No figure of {failure['peer']} ({failure['job']}): {failure['reason'].splitlines()[0]}", ""]
    settings = dict.fromkeys((row["peer"], row["settings"]) for row in result["outcomes"])
    lines += [f"- {peer}: {text}." for peer, text in settings]
    return "\n".join([*lines, "", _provenance(result)]) + "\n"


def summary_table(result: Result) -> str:
    """Return one short table of ``make bench-peers``: a line a system, both jobs side by side."""
    rows = {(row["peer"], row["job"]): row for row in result["outcomes"]}
    order = sorted(rows, key=lambda key: -float(rows[key]["per_cpu_second"]))
    lines = _table_head(("system",), [f"{job} per CPU second" for job in JOBS], *(f"{job}: answers" for job in JOBS))
    for peer in dict.fromkeys(peer for peer, _ in order):
        found = [rows.get((peer, job)) for job in JOBS]
        rates = [f"{row['per_cpu_second']:,}" if row else "" for row in found]
        answers = [(_short(row) or "right") if row else "" for row in found]
        lines.append(_row(peer, *rates, *answers))
    return "\n".join([*lines, "", _provenance(result)]) + "\n"


def peers_plot(result: Result) -> str:
    """Return the plot of ``make bench-peers`` as SVG: events per CPU second, and whose answers are right."""
    panels = []
    for job, title in JOBS.items():
        rows = [row for row in result["outcomes"] if row["job"] == job]
        rows.sort(key=lambda row: -float(row["per_cpu_second"]))
        drawn = [Bar(row["peer"], row["per_cpu_second"], row["all_right"], _short(row)) for row in rows]
        if drawn:
            panels.append((title, drawn))
    return bars("Events per CPU second", panels, _provenance(result))


def put(text: str, name: str, block: str) -> str:
    """Return ``text`` with ``block`` between the marks ``<!-- bench:NAME -->`` and ``<!-- /bench:NAME -->``."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not found:
        return text
    if not closed:
        raise PublishError(f"{begin} is never closed")
    return f"{before}{begin}\n{block}{end}{after}"


def _write(pages: Iterable[Path], blocks: Mapping[str, str], plot: Path) -> None:
    if "plot" in blocks:
        plot.parent.mkdir(parents=True, exist_ok=True)
        plot.write_text(blocks["plot"])
        print(f"drew {plot}")
    for page in pages:
        before = after = page.read_text()
        for name in blocks:
            after = put(after, name, blocks[name])
        if after != before:
            page.write_text(after)
            print(f"wrote {page}")


def _answers(row: Result) -> str:
    told = f" (it says: {row['told']})" if row["told"] else ""
    return f"{row['verdict']}{told}"


def _short(row: Result) -> str:
    due = row["right"] + row["wrong"] + row["missing"]
    if not due:
        return "nothing to judge"
    if row["all_right"]:
        return ""
    return f"{(row['wrong'] + row['missing']) / due:.0%} of the answers wrong or missing"


def _numbers(row: Result, names: Iterable[str]) -> list[str]:
    return [f"{row[name]:,}" if row[name] else "" for name in names]


def _table_head(texts: Sequence[str], numbers: Sequence[str], *more: str) -> list[str]:
    return [
        _row(*texts, *numbers, *more),
        _row(*(["---"] * len(texts) + ["---:"] * len(numbers) + ["---"] * len(more))),
    ]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _provenance(result: Result) -> str:
    machine = result["machine"]
    load = " / ".join(str(number) for number in machine["load_average"])
    return (
        f"{result['at'][:10]}, {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, "
        f"Python {machine['python']}; load average at the end {load}."
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="penstock-bench", description=__doc__)
    commands = parser.add_subparsers(required=True)
    report = commands.add_parser("report", help="print the tables, or write them and the plot into the docs")
    report.add_argument("--results", type=Path, default=RESULTS, help=f"folder of the raw results (default {RESULTS})")
    report.add_argument("--write", action="store_true", help="write into the pages, and draw the plot")
    report.add_argument("--pages", type=Path, nargs="+", default=PAGES, help="pages that have the marks")
    report.add_argument("--plot", type=Path, default=PLOT, help=f"where the plot goes (default {PLOT})")
    return parser


if __name__ == "__main__":
    sys.exit(main())
