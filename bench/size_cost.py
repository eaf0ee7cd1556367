"""``python -m bench.size_cost`` (``make bench-soak``): what an event costs a worker, by how long the log is and by how
many groups its metrics have.

One worker with all of the product's metrics catches up on a backlog, as in :mod:`bench.process_jobs`; the median of
some runs counts. Every answer is held against the truth.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.answers import WrongAnswerError, check, check_books, final_results
from bench.bed import Bed, fill, new_prefix
from bench.events import telemetry
from bench.goals import SIZE_COST
from bench.live import producing
from bench.measured import Value
from bench.process_jobs import catch_up, figure
from bench.report import LATEST, Figure, median
from bench.values import Parts, measure_values
from penstock.schema_ids import schema_ids

RESULTS = LATEST.with_name("size_cost.json")
SIZES = (100_000, 1_000_000, 5_000_000, 20_000_000)
GROUPS = (10, 100, 1_000, 10_000, 100_000)
GROUP_EVENTS = 1_000_000
LONG = 5_000_000
"""A log of so many events is folded once."""


class Log(NamedTuple):
    """The topics of one prefix, filled, and the producer's truth about them."""

    prefix: str
    truth: Mapping[str, Any]


_SUMS = {"orders": "orders", "revenue_e4": "revenue_e4", "units": "units", "cancellations": "cancellations"}


def by_size(bed: Bed, sizes: Sequence[int], repeat: int) -> Iterator[Value]:
    """Yield the cost of an event of the orders model for each length of the log, and the largest ratio.

    All logs are filled first. Then they are folded in turn, so that a machine that becomes slower does so for each.
    """
    logs = {events: _orders(bed, events) for events in sizes}
    runs: dict[int, list[Figure]] = {events: [] for events in sizes}
    for number in range(repeat):
        for events, log in logs.items():
            if number == 0 or events < LONG:
                runs[events].append(_fold_orders(bed, log, events, 1 + number))
    costs = [_microseconds(f"{events:,} events", median(found)) for events, found in runs.items()]
    yield from costs
    yield _ratio("by size of the log", costs)


def by_groups(bed: Bed, groups: Sequence[int], events: int, repeat: int) -> Iterator[Value]:
    """Yield the cost of a reading for each number of devices, and the largest ratio."""
    costs = []
    for devices in groups:
        costs.append(cost := _microseconds(f"{devices:,} groups", median(_readings(bed, devices, events, repeat))))
        yield cost
    yield _ratio("by groups", costs)


def _microseconds(what: str, found: Figure) -> Value:
    note = f"{found.events:,} events, {found.rss_mb:.0f} MB"
    return Value(f"CPU of an event, {what}", 1e6 * found.cpu_s / found.events, "µs", note)


def _ratio(what: str, costs: Sequence[Value]) -> Value:
    numbers = [cost.value for cost in costs]
    return Value(f"dearest ÷ cheapest event, {what}", max(numbers) / min(numbers), "×")


def _orders(bed: Bed, events: int) -> Log:
    prefix = new_prefix("size")
    bed.create_topics(prefix)
    with producing(bed, prefix, "orders", "--count", str(events), "--seed", "1") as producer:
        producer.finish()
    return Log(prefix, producer.truth()["orders"])


def _fold_orders(bed: Bed, log: Log, events: int, version: int) -> Figure:
    watched, committed = catch_up(bed, log.prefix, version, "orders")
    found, end = final_results(bed.settings(log.prefix, version), "orders")
    _check_sums(log.truth, {name: int(found["order_metrics"][name].sum()) for name in _SUMS})
    applied = sum(frontier.fates.applied for _, frontier in committed.values())
    if applied != log.truth["fates"]["applied"] or any(frontier.imbalance for _, frontier in committed.values()):
        raise WrongAnswerError(f"{applied} events were applied, {log.truth['fates']['applied']} were sent")
    return figure(watched, "orders", f"{events:,} events", events, end)


def _check_sums(truth: Mapping[str, Any], found: Mapping[str, int]) -> None:
    wanted = {name: truth["sums"]["applied"].get(summed, 0) for name, summed in _SUMS.items()}
    if wanted != found:
        raise WrongAnswerError(f"the producer sent {wanted}, the final results say {found}")


def _readings(bed: Bed, devices: int, events: int, repeat: int) -> list[Figure]:
    prefix = new_prefix("groups")
    bed.create_topics(prefix)
    settings = bed.settings(prefix)
    load = telemetry(events, schema_ids(settings), devices=devices)
    fill(settings, load)
    runs = []
    for version in range(1, repeat + 1):
        watched, committed = catch_up(bed, prefix, version, "telemetry")
        found, end = final_results(bed.settings(prefix, version), "telemetry")
        check(f"{devices} groups", load.truth, found, set(load.truth))
        check_books(f"{devices} groups", committed, events)
        runs.append(figure(watched, "telemetry", f"{devices:,} groups", events, end))
    return runs


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; print and, if it was the whole of it, write. Returns 1 when an answer was wrong or a goal was missed."""
    options = _parser().parse_args(arguments)
    sizes = sorted({min(size, options.max_events) for size in SIZES})
    groups = [count for count in GROUPS if count <= options.max_groups]
    parts: Parts = {
        "sizes": partial(by_size, sizes=sizes, repeat=options.repeat),
        "groups": partial(by_groups, groups=groups, events=min(GROUP_EVENTS, sizes[-1]), repeat=options.repeat),
    }
    whole = sizes[-1] == SIZES[-1] and groups[-1] == GROUPS[-1]
    told = {"events": sizes, "groups": groups, "repeat": options.repeat}
    return measure_values(SIZE_COST, parts, told, options.output or (RESULTS if whole else None))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.size_cost", description=__doc__)
    parser.add_argument("--max-events", type=int, default=SIZES[-1], help=f"of the longest log (default {SIZES[-1]})")
    parser.add_argument("--max-groups", type=int, default=GROUPS[-1], help=f"devices at most (default {GROUPS[-1]})")
    parser.add_argument("--repeat", type=int, default=3, help="runs of all but the long logs; the median counts")
    parser.add_argument("--output", type=Path, help=f"where the JSON goes ({RESULTS.name}, if all sizes were measured)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
