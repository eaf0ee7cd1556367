"""`penstock replay`: files of real events, as history or as if they happened now."""

from collections import Counter
from functools import partial
from random import Random

from rich.console import Console

from penstock.errors import ExitCode
from penstock.settings import Settings
from penstock.topics import Topic
from producers.csv_rows import Gathered
from producers.partitions import partitions_of
from producers.report import show_rows
from producers.retail import SOURCE
from producers.rows import Encoders
from producers.run import Clock, Feed, wall_clock
from producers.session import Session, produce
from producers.sources import History, as_if_now
from producers.stream import Pulse, Stream
from producers.truth import TopicTruth


def start(
    gathered: Gathered, session: Session, settings: Settings, speed: float | None, clock: Clock = wall_clock
) -> int:
    """Send what was gathered and return the exit code: 1 if a row could not be read.

    With ``speed`` it happens now, gaps divided by it; without, at its own times and as fast as it goes. History has no
    heartbeats on the way: years of them would outweigh the events, and nobody waits for them.
    """
    live = speed is not None

    def make_feed(topic: Topic, truth: TopicTruth, encoders: Encoders) -> Feed:
        events = gathered.events
        opens_at = None if speed is None else clock()
        if speed is not None and opens_at is not None:
            events = as_if_now(events, opens_at, speed)
        # Only heartbeats draw from this; they are nobody's duplicates, not even a second replay's.
        pulse = Pulse(SOURCE, on_the_way=live, now=clock if live else None)
        stream = Stream(truth, encoders, pulse, Random())  # noqa: S311
        rows = encoders.rows_of(events, partial(partitions_of, partitions=truth.partitions))
        return Feed(topic.full_name(settings), History(rows), stream, opens_at)

    code = produce(session, settings, make_feed, clock if live else None)
    show_rows(Console(), Counter(gathered.skipped), gathered.malformed)
    return ExitCode.FAILED if code == ExitCode.OK and gathered.malformed else code


def facts(gathered: Gathered) -> dict[str, object]:
    """Return what the truth of a replay says on top: rows that became no event."""
    return {"skipped_rows": gathered.skipped, "malformed_rows": len(gathered.malformed)}
