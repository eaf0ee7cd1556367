"""``python -m bench.early_cost``: what early results cost a worker, by how often they go out; no broker needed.

Orders come at 5,000 a second to four partitions, a batch each every 20 ms, and are decoded and folded; after each
interval what changed is taken and encoded as the worker does. CPU seconds of this process for a second of input;
handing messages to the client is left out.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # as the worker has it, before Polars is imported

from bench.events import orders
from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.frontier import Frontier
from penstock.metrics import metrics_of
from penstock.pipeline import NO_TIME, fingerprint
from penstock.schema_ids import LockedIds
from penstock.settings import load_settings
from penstock.topics import BY_NAME, PARTITIONS
from processors.fold import PartitionFold, Records
from processors.outbox import Origin, Outbox

RATE = 5_000
TICK_MS = 20
INTERVALS_MS = (200, 100, 60, 40)


def measure(values: Sequence[bytes | None], every_ms: int) -> tuple[float, float, int]:
    """Return CPU seconds for folding ``values`` and for their early results, and how many rows went out."""
    contracts, ids = load_contracts(), LockedIds()
    outbox = Outbox(load_settings(embedded=True), contracts, ids)
    decoder = Decoder(BY_NAME["orders"], contracts, ids, 256_000)
    folds = [
        PartitionFold(metrics_of("orders"), Frontier("id", 0, 0, NO_TIME, fingerprint())) for _ in range(PARTITIONS)
    ]
    folding = sending = 0.0
    rows = 0
    at_once = RATE * TICK_MS // 1_000 // PARTITIONS
    for tick, begin in enumerate(range(0, len(values), at_once * PARTITIONS), 1):
        before = time.process_time()
        for partition, fold in enumerate(folds):
            chunk = values[begin + partition : begin + at_once * PARTITIONS : PARTITIONS]
            offsets = range(fold.position, fold.position + len(chunk))
            fold.step(Records(offsets, [time.time_ns() // 1_000_000] * len(chunk), decoder.decode(chunk)))
        folding += time.process_time() - before
        if tick * TICK_MS % every_ms:
            continue
        before = time.process_time()
        for partition, fold in enumerate(folds):
            origin = Origin("orders", "id", partition)
            for metric, changed in fold.changed():
                rows += len(outbox.results(metric, changed, origin, fold.position, final=False).messages)
        sending += time.process_time() - before
    return folding, sending, rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.early_cost", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="of input (default 5)")
    seconds = parser.parse_args(arguments).seconds
    values = [value for _, value in orders(seconds * RATE, LockedIds()).events]
    measure(values[:RATE], INTERVALS_MS[0])  # warms up
    for every_ms in INTERVALS_MS:
        folding, sending, rows = measure(values, every_ms)
        print(
            f"every {every_ms:3} ms: early results {100 * sending / seconds:5.1f} % of a core, "
            f"{rows / seconds:6,.0f} rows/s; decoding and folding {100 * folding / seconds:.1f} %",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
