"""What an event costs a producer before it is sent: ``python -m bench.produce_parts [--events N]``, no broker needed.

CPU time of this thread, in microseconds an event: made by the model, encoded, and given its fault, truth and place.
The rest of what ``python -m bench --only produce`` shows is the client: queues, batches, compression, delivery reports.
"""

import argparse
import time
from functools import partial
from itertools import pairwise

from bench.produce_job import FAULTS
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from producers.arguments import duration_ms, share
from producers.chance import stream_of
from producers.faults import Faults
from producers.modelled import DEFAULT_DENSITY, TOPICS, Plan, workload
from producers.partitions import partitions_of
from producers.run import CHUNK_EVENTS
from producers.session import encoders_of
from producers.sources import Schedule
from producers.stream import Pulse, Stream
from producers.truth import TopicTruth

_PARTITIONS = 4
_START_MS = 1_790_000_000_000


def measure(topic: str, count: int) -> dict[str, float]:
    """Return CPU seconds by part of the work, for ``count`` events."""
    options = dict(zip(FAULTS[::2], FAULTS[1::2], strict=True))
    shares = (share(name, options[name]) for name in ("--duplicates", "--late", "--poison"))
    faults = Faults(duration_ms("--disorder", options["--disorder"]), *shares)
    encoders = encoders_of(BY_NAME[topic], LockedIds())
    model = workload(topic, Plan((topic,), 1, count=count), partial(partitions_of, partitions=_PARTITIONS))
    schedule = Schedule(_START_MS, DEFAULT_DENSITY, count)
    stream = Stream(TopicTruth(_PARTITIONS), encoders, Pulse("bench"), stream_of(1, "bench"), faults)
    marks = [0.0, 0.0, 0.0, 0.0]
    spent = [0.0, 0.0, 0.0]
    while not schedule.finished:
        marks[0] = time.thread_time()
        made = model.batch(schedule.take(None, CHUNK_EVENTS))
        marks[1] = time.thread_time()
        rows = encoders.rows(made)
        marks[2] = time.thread_time()
        stream.advance(rows, int(rows.times[-1]))
        marks[3] = time.thread_time()
        spent = [sum(part) for part in zip(spent, (b - a for a, b in pairwise(marks)), strict=True)]
    return dict(zip(("model", "encoding", "faults and truth"), spent, strict=True))


def main() -> None:
    """Measure both models."""
    parser = argparse.ArgumentParser(prog="python -m bench.produce_parts", description=__doc__)
    parser.add_argument("--events", type=int, default=500_000)
    count = parser.parse_args().events
    for topic in TOPICS:
        parts = measure(topic, count)
        told = ", ".join(f"{name} {seconds / count * 1e6:.2f}" for name, seconds in parts.items())
        print(f"{topic}: {told}; in all {sum(parts.values()) / count * 1e6:.2f} µs an event")


if __name__ == "__main__":
    main()
