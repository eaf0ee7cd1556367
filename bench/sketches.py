"""``python -m bench.sketches``: CPU time that quantiles and distinct customers take of a processor, an event.

Batches of one partition, as the fold has them, are folded into open panes, and closed panes are taken out; then what is
taken out is made into messages. Decoding and fates, which all metrics share, are left out.
"""

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
import polars as pl

from penstock.contracts import load_contracts
from penstock.metrics import METRICS, Metric
from penstock.schema_ids import LockedIds
from penstock.settings import load_settings
from processors.fates import PANE
from processors.fold import open_groups
from processors.outbox import Origin, Outbox

BATCH, PANE_EVENTS = 5_000, 15_000
"""Events of a partition in a batch and in a pane: 1,000 a second, on four partitions."""

CUSTOMERS, SENSORS = 100_000, ("TEMPERATURE", "HUMIDITY", "PRESSURE", "CPU")
ROUNDS = 12
"""The cheapest of so many counts: what else the machine does makes CPU time longer, never shorter."""

SOURCES = {"distinct_customers": "OrderPlaced", "reading_quantiles": "ReadingTaken"}


def batches(name: str, events: int) -> Iterator[pl.DataFrame]:
    """Yield the applied rows of a metric's source."""
    rng = np.random.default_rng(1)
    for begin in range(0, events, BATCH):
        minute = (np.arange(begin, begin + BATCH) + rng.integers(0, 2_500, BATCH)) // PANE_EVENTS
        pane = pl.Series(PANE, minute * 60_000)
        if name == "distinct_customers":
            customers = [f"customer-{number:05}" for number in rng.integers(0, CUSTOMERS, BATCH)]
            yield pl.DataFrame([pane, pl.Series("customer_id", customers)])
        else:
            kinds = rng.integers(0, len(SENSORS), BATCH)
            values = rng.normal(21, 3, BATCH) * np.array([1.0, 2.5, 48.0, 1.7])[kinds]
            sensors = pl.Series("sensor", [SENSORS[kind] for kind in kinds], dtype=pl.Enum(SENSORS))
            yield pl.DataFrame([pane, sensors, pl.Series("value_e6", (values * 1e6).astype(np.int64))])


def measure(metric: Metric, events: int) -> tuple[float, float, int]:
    """Return microseconds an event for folding and for making messages, and how many messages there are."""
    settings = load_settings()
    outbox, origin = Outbox(settings, load_contracts(), LockedIds()), Origin(metric.topic, "topic-id", 0)
    source, folding, sending, messages = SOURCES[metric.name], [], [], 0
    for _ in range(ROUNDS):
        groups, ended, folded, sent, messages = open_groups(metric), 0, 0.0, 0.0, 0
        for rows in batches(metric.name, events // ROUNDS):
            began = time.process_time()
            groups.fold({source: rows})
            first_open = int(rows[PANE].min())  # type: ignore[arg-type]
            final = groups.take_final(first_open) if first_open > ended else None  # as the fold does
            ended = first_open
            middle = time.process_time()
            folded += middle - began
            if final is not None:
                messages += len(outbox.results(metric, final, origin, 1, final=True).messages)
                sent += time.process_time() - middle
        folding.append(folded)
        sending.append(sent)
    each = 1e6 / (events // ROUNDS)
    return min(folding) * each, min(sending) * each, messages * ROUNDS


def main() -> int:
    """Print the costs."""
    parser = argparse.ArgumentParser(prog="python -m bench.sketches", description=__doc__)
    parser.add_argument("--events", type=int, default=1_200_000, help="events of each metric (1,200,000)")
    events = parser.parse_args().events // (ROUNDS * BATCH) * ROUNDS * BATCH
    for metric in METRICS:
        if metric.name in SOURCES:
            folding, sending, messages = measure(metric, events)
            print(
                f"{metric.name:20} folding {folding:.3f} µs an event; messages {sending:.3f} µs an event "
                f"({messages / events:.3f} of them)"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
