"""``python -m bench.sizes``: what things weigh: an event in the log, an id or a group in memory, a row of a view."""

import sys
import time
import uuid
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import psutil

from bench.events import lives, load_of
from consumers.batches import Batch, Span
from consumers.materializer import merge, stage
from consumers.sqlite_store import SqliteStore
from consumers.tables import prepare
from consumers.view_files import choose_views, load_views
from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.metrics import metrics_of
from penstock.schema_ids import LockedIds
from penstock.topics import BY_NAME
from processors.aggregate import answers, partials
from processors.fates import PANE, SeenIds

IDS = 1_000_000
GROUPS = 10_000
KEYS = 30_000


def main() -> int:
    """Print the weights, in bytes."""
    for job in ("orders", "telemetry"):
        load = load_of(job, 20_000, LockedIds())
        print(f"value of an event of {job:10} {load.value_bytes:6.0f} bytes")
    print(f"id of an event in an open pane {_id_bytes():5.0f} bytes")
    print(f"open group of telemetry_metrics {_group_bytes():4.0f} bytes")
    print(f"row of the view orders, SQLite {_row_bytes():5.0f} bytes, indexes included")
    return 0


def _id_bytes() -> float:
    frames = [
        pl.DataFrame({"_index": range(10_000), "event_id": [str(uuid.uuid4()) for _ in range(10_000)], PANE: 0})
        for _ in range(IDS // 10_000)
    ]
    before, seen = psutil.Process().memory_info().rss, SeenIds()
    for frame in frames:
        seen.first_copies(frame)
    return (psutil.Process().memory_info().rss - before) / IDS


def _group_bytes() -> float:
    load = load_of("telemetry", GROUPS, LockedIds())
    decoded = Decoder(BY_NAME["telemetry"], load_contracts(), LockedIds(), 256_000).decode([v for _, v in load.events])
    rows = decoded.records["ReadingTaken"].with_columns(pl.lit(0).alias(PANE))
    (found,) = answers(partials(metrics_of("telemetry")[0], {"ReadingTaken": rows}))
    return found.estimated_size() / len(found)


def _row_bytes() -> float:
    (view,) = choose_views(load_views(), ["orders"])
    topic, load = BY_NAME["orders"], lives(100_000, KEYS, LockedIds())
    values = [value for _, value in load.events]
    decoder = Decoder(topic, load_contracts(), LockedIds(), 256_000)
    now = time.time_ns() // 1_000_000
    with TemporaryDirectory(prefix="penstock-bench-") as folder:
        store = SqliteStore.from_url(f"sqlite:///{folder}/views.db")
        prepare(store, [view], 1)
        places = pl.DataFrame({"partition": [0] * len(values), "offset": range(len(values)), "appended_at": now})
        batch = Batch(topic, (Span(0, 0, len(values)),), values, places)
        staged = stage(view, batch, decoder.decode(values), "id", {})
        if staged is None:
            raise RuntimeError("nothing was staged")
        merge(store, view, 1, staged)
        with store.snapshot() as transaction:
            rows = int(transaction.fetch("SELECT count(*) FROM orders")[0][0])
        store.close()
        return sum(file.stat().st_size for file in Path(folder).iterdir()) / rows


if __name__ == "__main__":
    sys.exit(main())
