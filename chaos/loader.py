"""The load: `penstock produce` with a clock that runs faster, and a list of each acknowledgement, flushed as it grows.

``python -m chaos.loader --rate 600 --speed 6 --began-ms T --seed 1 --truth FILE --acks FILE``

Event time runs ``speed`` times as fast as the wall clock, from well before ``--began-ms`` on, so that panes close
while the faults last; a second loader with the same ``--began-ms`` goes on where the first one is. Each line of the
acks tells what the broker has for certain: topic, partition, offset, CRC-32 of the value, fate. It ends early in a
process that is killed, and is true as far as it goes: acknowledged is a subset of the topic.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Sequence
from functools import partial
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from penstock.errors import PenstockError
from penstock.log import configure_logging
from penstock.settings import Settings, load_settings
from penstock.topics import Topic
from producers.arguments import duration_ms
from producers.chance import stream_of
from producers.faults import Fate, Faults
from producers.modelled import TOPICS, Plan, topics_of, workload
from producers.partitions import partitions_of
from producers.rows import Encoders
from producers.run import Clock, Feed, wall_clock
from producers.session import Session, produce
from producers.sources import Modelled
from producers.stream import Pulse, Stream
from producers.truth import Tally, TopicTruth

BEHIND_MS = 2 * 60 * 60_000
"""How far before the wall clock event time begins: never ahead of it in a run of an hour at speed 3."""


class LoggedTally(Tally):
    """A tally that also writes down each acknowledgement."""

    def __init__(self, acks: TextIOWrapper, fate: Fate) -> None:
        super().__init__()
        self._acks = acks
        self._fate = fate

    def delivered(self, error: Any, message: Any) -> None:
        """Take a delivery report."""
        super().delivered(error, message)
        if error is None:
            value = zlib.crc32(message.value() or b"")
            self._acks.write(f"{message.topic()},{message.partition()},{message.offset()},{value},{self._fate}\n")


class LoggedTruth(TopicTruth):
    """A topic's truth that shares its counts with ``truth`` and whose tallies are logged."""

    def __init__(self, truth: TopicTruth, acks: TextIOWrapper) -> None:
        super().__init__(truth.partitions, truth.tallies, truth.sums)
        self._acks = acks

    def tally(self, fate: Fate, kind: str) -> Tally:
        """Return the tally of records of one fate and kind."""
        found = self.tallies.get((fate, kind))
        if found is None:
            found = self.tallies[fate, kind] = LoggedTally(self._acks, fate)
        return found


def fast_clock(began_ms: int, speed: float) -> Clock:
    """Return a clock that stood :data:`BEHIND_MS` before the wall clock at ``began_ms``, and never passes it."""

    def now() -> int:
        wall = wall_clock()
        return min(wall, began_ms - BEHIND_MS + int((wall - began_ms) * speed))

    return now


def load(plan: Plan, session: Session, settings: Settings, clock: Clock, acks: TextIOWrapper) -> int:
    """Produce by ``plan`` until SIGTERM, and return the exit code."""

    def make_feed(topic: Topic, truth: TopicTruth, encoders: Encoders) -> Feed:
        schedule = plan.schedule(topic.name, clock())
        model = workload(topic.name, plan, partial(partitions_of, partitions=truth.partitions))
        chance = stream_of(plan.seed, f"{topic.name}/faults")
        stream = Stream(LoggedTruth(truth, acks), encoders, Pulse("chaos", now=wall_clock), chance, plan.faults)
        return Feed(topic.full_name(settings), Modelled(model, schedule, encoders), stream, schedule.at(0))

    return produce(session, settings, make_feed, clock)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; return the exit code."""
    options = _parser().parse_args(arguments)
    settings = load_settings()
    configure_logging(settings)
    shares = (options.duplicates, options.late, options.poison)
    faults = Faults(duration_ms("--disorder", options.disorder), *shares)
    plan = Plan(tuple(options.topics), options.seed, options.rate / options.speed, options.count, None, faults)
    session = Session("the load", topics_of(plan.topics), False, options.truth, None, plan.seed)
    try:
        with options.acks.open("a", encoding="ascii", buffering=1 << 13) as acks:
            return load(plan, session, settings, fast_clock(options.began_ms, options.speed), acks)
    except PenstockError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos.loader", description=__doc__)
    parser.add_argument("--topics", nargs="+", choices=TOPICS, default=list(TOPICS))
    parser.add_argument("--rate", type=float, default=600.0, help="events per second of the wall clock, in all")
    parser.add_argument("--speed", type=float, default=6.0, help="seconds of event time per second")
    parser.add_argument("--began-ms", type=int, required=True)
    parser.add_argument("--count", type=int, help="stop after so many events")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--disorder", default="4s", help="in event time")
    for name in ("duplicates", "late", "poison"):
        parser.add_argument(f"--{name}", type=float, default=0.05 if name != "poison" else 0.01)
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--acks", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
