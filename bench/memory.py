"""``python -m bench.memory``: what a worker holds while 300,000 groups of ``telemetry_metrics`` are open.

As many devices measure twice each within one minute, so all of their groups are open at once; every metric of the
product is on, and early results of all groups go out. Then heartbeats close the minute, and every group is sent as
final.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from bench.answers import check, check_books, ends, final_results, frontiers, processors_reader
from bench.bed import PENSTOCK, Bed, fill, new_prefix, real_bed
from bench.events import telemetry
from bench.measured import Value
from penstock.schema_ids import schema_ids
from penstock.topics import BY_NAME, PARTITIONS

GROUPS = 300_000
READINGS = 2
_WITHIN_S = 50
_METRIC = "telemetry_metrics"


def measure(bed: Bed, groups: int = GROUPS) -> list[Value]:
    """Return the most memory that a worker held, once its answers are right."""
    prefix = new_prefix("memory")
    bed.create_topics(prefix)
    settings = bed.settings(prefix)
    events = READINGS * groups
    load = telemetry(events, schema_ids(settings), devices=groups, a_second=events // _WITHIN_S)
    consumer = processors_reader(settings)
    source, early = (BY_NAME[name].full_name(settings) for name in ("telemetry", "telemetry-metrics"))

    def settled(count: int) -> bool:
        time.sleep(0.1)
        return sum(frontier.position for _, frontier in frontiers(settings, consumer, source).values()) == count

    with bed.watch("memory", [*PENSTOCK, "process"], bed.environment(prefix)) as worker:
        worker.wait_until(lambda: worker.logged_at("assigned"), "the worker has its partitions")
        fill(settings, load, close=False)
        worker.wait_until(lambda: settled(events), "all events are settled")
        worker.wait_until(lambda: sum(ends(consumer, early).values()) >= groups, "all groups were sent early")
        open_until = time.time()
        fill(settings, load, events=False)
        worker.wait_until(lambda: settled(events + PARTITIONS), "all panes are final")
        committed = frontiers(settings, consumer, source)
        worker.stop()
    consumer.close()
    found, _ = final_results(settings, "telemetry")
    check("memory", load.truth, found, set(load.truth))
    check_books("memory", committed, events)
    while_open, in_all = worker.peak_rss_bytes(end=open_until) / 2**20, worker.peak_rss_bytes() / 2**20
    note = f"{len(found[_METRIC]):,} groups of {_METRIC}"
    return [
        Value("memory: worker with 300,000 open groups", while_open, "MB", note),
        Value("memory: worker while they are sent as final", in_all, "MB"),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--groups", type=int, default=GROUPS, help=f"open groups (default {GROUPS})")
    options = parser.parse_args(arguments)
    with real_bed(postgres=False) as bed:
        print("\n".join(map(str, measure(bed, options.groups))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
