"""A producer whose clock is wrong: `penstock produce`, run as a program with another clock handed to it.

``python -m chaos.skewed_producer orders --skew-ms 3600000 --rate 100 --count 300 --seed 1 --truth FILE``

The truth that it writes is the producer's own belief: it counts as *applied* what the pipeline must find late, or ahead
of time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from penstock.errors import PenstockError
from penstock.log import configure_logging
from penstock.settings import load_settings
from producers.modelled import TOPICS, Plan, start, topics_of
from producers.run import wall_clock
from producers.session import Session


def main(arguments: Sequence[str] | None = None) -> int:
    """Produce ``--count`` events at ``--rate`` a second by a clock that is ``--skew-ms`` off; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos.skewed_producer")
    parser.add_argument("topic", choices=TOPICS)
    parser.add_argument("--skew-ms", type=int, required=True, help="more than 0: ahead of the true time")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--truth", type=Path, required=True)
    options = parser.parse_args(arguments)
    settings = load_settings()
    configure_logging(settings)
    plan = Plan((options.topic,), options.seed, options.rate, options.count)
    session = Session("a producer with a wrong clock", topics_of(plan.topics), False, options.truth, None, plan.seed)
    try:
        return start(plan, session, settings, lambda: wall_clock() + options.skew_ms)
    except PenstockError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
