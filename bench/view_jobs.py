"""Measuring the view ``orders``: end to end from the log, and a bare loop of its staging and merge on decoded rows.

End to end is read from the view's stored offsets: from the first that is seen until the last. The bare loop does the
same statements on rows that were decoded before, without Kafka and without offsets.
"""

import secrets
import time
from collections.abc import Iterator
from typing import Any

import polars as pl

from bench.answers import check
from bench.bed import PENSTOCK, Bed
from bench.events import Load
from bench.report import Figure
from consumers.batches import Batch, Span
from consumers.materializer import stage
from consumers.stores import open_store
from consumers.tables import prepare
from consumers.view_files import Merge, View, choose_views, load_views, render
from penstock.avro import Decoder
from penstock.contracts import load_contracts
from penstock.errors import Unavailable
from penstock.schema_ids import schema_ids
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME, PARTITIONS

BATCH = 10_000
_TOPIC = BY_NAME["orders"]
_VERSION = 1
_ROWS = "SELECT order_id, country, amount_e4, placed_at_ms, paid_at_ms, shipped_at_ms FROM orders"


def measure(bed: Bed, prefix: str, load: Load, database: str) -> list[Figure]:
    """Keep the view of ``load``, which fills the topics of ``prefix``, in a fresh database; return both figures."""
    name = f"bench_{secrets.token_hex(4)}"
    url = _fresh(bed, database, name)
    settings = load_settings(database_url=url)
    environment = bed.environment(prefix, DATABASE_URL=url, PENSTOCK_VIEW_BATCH_RECORDS=str(BATCH))
    total = len(load.events) + PARTITIONS
    seen: list[tuple[float, int]] = []

    def done() -> bool:
        time.sleep(0.03)
        count = _merged(settings)
        if count and (not seen or seen[-1][1] != count):
            seen.append((time.time(), count))
        return count == total

    with bed.watch(f"materialize-{database}", [*PENSTOCK, "materialize", "orders"], environment) as watched:
        watched.wait_until(done, "all events are in the view")
        watched.stop()
    check(f"materialize {database}", {"orders": _truth(load)}, {"orders": _table(settings)}, {"orders"})
    (begin, before), (end, after) = seen[0], seen[-1]
    cpu, rss = watched.cpu_between(begin, end), watched.peak_rss_bytes() / 2**20
    stage_name = f"materialize {database}"
    note = "CPU of the view's process alone" if database == "Postgres" else ""
    full = Figure(stage_name, "end to end", after - before, end - begin, cpu, rss, note)
    bare = load_settings(database_url=_fresh(bed, database, f"{name}_bare"))
    return [full, _bare(bed.settings(prefix), load, stage_name, bare)]


def _fresh(bed: Bed, database: str, name: str) -> str:
    if database == "SQLite":
        return f"sqlite:///{bed.folder / name}.db"
    if bed.postgres is None:
        raise RuntimeError("Postgres was not started")
    return bed.postgres.create_database(name)


def _bare(kafka: Settings, load: Load, stage_name: str, settings: Settings) -> Figure:
    view = choose_views(load_views(), ["orders"])[0]
    staged = list(_staged(kafka, view, load))
    store = open_store(settings)
    prepare(store, [view], _VERSION)
    began, cpu = time.perf_counter(), time.process_time()
    for rows in staged:
        with store.transaction() as transaction:
            for merge, frame in rows:
                table = merge.staging(view.name)
                transaction.merge(render(merge.sql, view, _VERSION, store.dialect, table), table, frame)
    seconds, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    store.close()
    check(stage_name, {"orders": _truth(load)}, {"orders": _table(settings)}, {"orders"})
    return Figure(stage_name, "bare merge loop", len(load.events), seconds, cpu_s, note="rows decoded before")


def _staged(settings: Settings, view: View, load: Load) -> Iterator[tuple[tuple[Merge, pl.DataFrame], ...]]:
    """Yield what each batch of the load stages, decoded."""
    decoder = Decoder(_TOPIC, load_contracts(), schema_ids(settings), settings.max_record_bytes)
    for begin in range(0, len(load.events), BATCH):
        values = [value for _, value in load.events[begin : begin + BATCH]]
        count, now = len(values), time.time_ns() // 1_000_000
        places = pl.DataFrame({"partition": [0] * count, "offset": range(count), "appended_at": [now] * count})
        staged = stage(view, Batch(_TOPIC, (Span(0, 0, count),), values, places), decoder.decode(values), "bare", {})
        if staged is None:
            raise RuntimeError("a batch staged nothing")
        yield staged.rows


def _merged(settings: Settings) -> int:
    """Return how many offsets the view has merged; 0 while there is no table."""
    try:
        return int(_fetch(settings, "SELECT coalesce(sum(next), 0) FROM offsets")[0][0])
    except (Unavailable, LookupError):
        return 0


def _fetch(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    """Run a query on a connection of its own. Raises LookupError when a table is not there yet."""
    url = settings.database_url.get_secret_value()
    if url.startswith("sqlite"):
        import sqlite3

        connection = sqlite3.connect(url.removeprefix("sqlite:///"), timeout=30)
        try:
            return connection.execute(sql).fetchall()
        except sqlite3.OperationalError as error:
            raise LookupError(str(error)) from None
        finally:
            connection.close()
    import psycopg

    with psycopg.connect(url) as session:
        try:
            return session.execute(sql.encode()).fetchall()
        except psycopg.errors.UndefinedTable as error:
            raise LookupError(str(error)) from None


def _table(settings: Settings) -> pl.DataFrame:
    columns = {"order_id": pl.String, "country": pl.String, "amount_e4": pl.Int64}
    times = dict.fromkeys(("placed_at_ms", "paid_at_ms", "shipped_at_ms"), pl.Int64)
    return pl.DataFrame(_fetch(settings, _ROWS), schema={**columns, **times}, orient="row").sort("order_id")


def _truth(load: Load) -> pl.DataFrame:
    """Return the rows that the relation ``orders`` must have."""
    placed = load.truth["OrderPlaced"].rename({"occurred_at": "placed_at_ms"})
    for name, column in (("OrderPaid", "paid_at_ms"), ("OrderShipped", "shipped_at_ms")):
        times = load.truth[name].select("order_id", pl.col("occurred_at").alias(column))
        placed = placed.join(times, on="order_id", how="full", coalesce=True)
    names = ["order_id", "country", "amount_e4", "placed_at_ms", "paid_at_ms", "shipped_at_ms"]
    return placed.select(names).sort("order_id")
