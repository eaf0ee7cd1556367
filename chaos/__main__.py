"""``python -m chaos``: play faults on real parts; ``python -m chaos report FILE…``: write RELIABILITY.md of results."""

from __future__ import annotations

import argparse
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.report import write_report
from chaos.run import RESULTS, Run
from chaos.scenario import all_scenarios
from testbed.processes import PartError

SOAK = "mixed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, list or report; return 1 if a scenario failed or a part can't be had."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["report"]:
        return _report(words[1:])
    return _play(_parser().parse_args(words))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="play these scenarios alone")
    parser.add_argument("--seed", type=int, help="what decides the course; else a random one")
    parser.add_argument("--minutes", type=float, help=f"play {SOAK} alone, for so long")
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    parser.add_argument("--folder", type=Path, help="where logs and results go; by default runs/chaos-TIME-SEED")
    return parser


def _play(options: argparse.Namespace) -> int:
    known = all_scenarios()
    if options.list:
        for each in known.values():
            print(f"{each.name:28} {each.kind:10} {each.fault}")
        return 0
    names = options.only or ([SOAK] if options.minutes else list(known))
    if unknown := set(names) - known.keys():
        sys.stderr.write(f"no scenario is called {', '.join(sorted(unknown))}; see --list\n")
        return 2
    seed = secrets.randbits(32) if options.seed is None else options.seed
    folder = options.folder or Path("runs", f"chaos-{time.strftime('%Y%m%d-%H%M%S')}-{seed}")
    print(f"seed {seed}; logs and results in {folder}", flush=True)
    run = Run(folder.absolute(), seed, options.minutes or 0, lambda line: print(line, flush=True))
    try:
        results = run.play_all([known[name] for name in names])
    except PartError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    failed = [result.name for result in results if result.outcome == "failed"]
    print(f"{len(results) - len(failed)} of {len(results)} scenarios kept their promise; {folder / RESULTS}")
    return 1 if failed else 0


def _report(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m chaos report")
    parser.add_argument("results", nargs="+", type=Path, help=f"{RESULTS} of runs")
    parser.add_argument("--output", type=Path, default=Path("RELIABILITY.md"))
    options = parser.parse_args(words)
    write_report(options.results, options.output)
    print(f"written to {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
