"""The events of the jobs, and what is true of them: pure, from a seed.

Event times are of the past, nondecreasing but for a disorder of less than what the pipeline allows, so that no event is
late; each job ends with a heartbeat a partition that makes every pane final.

* ``orders``: ``OrderPlaced`` with one to four items, 1,000 a second of event time, 30 countries, 1,000 products.
* ``telemetry``: ``ReadingTaken`` of 10,000 devices that each measure once a second of event time.
* ``lives``: orders placed, paid and shipped, of a given number of keys: what the view ``orders`` merges.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul
from typing import Any

import polars as pl

from penstock.avro import Encoder
from penstock.contracts import load_contracts
from penstock.pipeline import ALLOWED_DISORDER_MS, PANE_MS
from penstock.schema_ids import SchemaIds
from penstock.topics import BY_NAME

BEGIN_MS = 1_700_000_040_000
"""Event time of the first event: the start of a pane."""

DISORDER_MS = 5_000
ORDERS_A_SECOND = 1_000
DEVICES = 10_000
COUNTRIES = 30
PRODUCTS = 1_000
_SEED = 20260701
_STRIDE = 7919
"""A prime: devices take turns, in no order."""

Row = dict[str, Any]
Event = tuple[bytes, bytes]
"""A record's key and value."""


@dataclass(frozen=True)
class Load:
    """The events of one job in the order to send them, and the true answer."""

    topic: str
    events: list[Event]
    closing: bytes
    """A heartbeat's value: sent to each partition at the end."""
    truth: Mapping[str, pl.DataFrame]
    """By metric (for ``lives``: by record name): the rows that must come out, sorted by their first columns."""

    @property
    def value_bytes(self) -> float:
        """Mean size of a value."""
        return sum(len(value) for _, value in self.events) / len(self.events)


def load_of(job: str, count: int, ids: SchemaIds) -> Load:
    """Return ``count`` events of a job (``orders``, ``telemetry``), the same ones each time."""
    return {"orders": orders, "telemetry": telemetry}[job](count, ids)


def orders(count: int, ids: SchemaIds) -> Load:
    """Return ``count`` orders."""
    columns = _OrderColumns(count, random.Random(_SEED))
    encode = _encoder("OrderPlaced", "orders", ids).encode
    events = [(row["order_id"].encode(), encode(row)) for row in columns.rows()]
    return Load("orders", events, _closing("orders", max(columns.times), ids), columns.truth())


def telemetry(count: int, ids: SchemaIds, *, devices: int = DEVICES, a_second: int = DEVICES) -> Load:
    """Return ``count`` readings of ``devices``, ``a_second`` of event time."""
    rng = random.Random(_SEED)
    names = [f"device-{number:05}" for number in range(devices)]
    rows = pl.DataFrame({
        "event_id": _uuids(count, rng),
        "occurred_at": _times(count, a_second, rng),
        "device_id": [names[number * _STRIDE % devices] for number in range(count)],
        "sensor": ["TEMPERATURE"] * count,
        "value_e6": [1_000 * round(1_000 * rng.gauss(21, 3)) for _ in range(count)],
    })  # fmt: skip
    encode = _encoder("ReadingTaken", "telemetry", ids).encode
    same = {"source": "bench", "unit": "C"}
    events = [
        (row["device_id"].encode(), encode({**row, **same, "value": row["value_e6"] / 1_000_000}))
        for row in rows.iter_rows(named=True)
    ]
    newest = int(rows["occurred_at"].max())  # type: ignore[arg-type]
    return Load("telemetry", events, _closing("telemetry", newest, ids), _truth_of_readings(rows))


def lives(count: int, keys: int, ids: SchemaIds) -> Load:
    """Return ``count`` events in the lives of ``keys`` orders, over and over: placed, paid and shipped in turn.

    The truth holds, by record name, the newest event of each order.
    """
    rng = random.Random(_SEED)
    names = ("OrderPlaced", "OrderPaid", "OrderShipped")
    encoders = {name: _encoder(name, "orders", ids) for name in names}
    others: dict[str, Row] = {"OrderPaid": {"method": "CARD"}, "OrderShipped": {"carrier": "Post"}, "OrderPlaced": {}}
    events, newest = [], {name: dict[str, Row]() for name in names}
    for number, order in enumerate(_OrderColumns(count, rng).rows()):
        name = names[number % 3]
        order_id = f"order-{rng.randrange(keys):06}"
        row = order | {"order_id": order_id, "occurred_at": BEGIN_MS + number} | others[name]
        events.append((order_id.encode(), encoders[name].encode(row)))
        newest[name][order_id] = {key: row[key] for key in ("order_id", "occurred_at", "country", "amount_e4")}
    truth = {name: pl.DataFrame(list(found.values())).sort("order_id") for name, found in newest.items()}
    return Load("orders", events, _closing("orders", BEGIN_MS + count, ids), truth)


class _OrderColumns:
    """Orders in columns: countries and products by Zipf's law."""

    def __init__(self, count: int, rng: random.Random) -> None:
        skus = [f"SKU-{number:05}" for number in range(PRODUCTS)]
        prices = {sku: rng.randrange(5_000, 1_000_000, 100) for sku in skus}
        countries = [f"Country {number:02}" for number in range(COUNTRIES)]
        self.ids = _uuids(count, rng)
        self.times = _times(count, ORDERS_A_SECOND, rng)
        self.countries = rng.choices(countries, cum_weights=_zipf(COUNTRIES), k=count)
        self.customers = rng.choices(range(100_000), k=count)
        self.sizes = [1 + (number * 7 + number // 5) % 4 for number in range(count)]
        self.skus = rng.choices(skus, cum_weights=_zipf(PRODUCTS), k=sum(self.sizes))
        self.quantities = rng.choices((1, 2, 3, 4), k=len(self.skus))
        self.prices = [prices[sku] for sku in self.skus]

    def rows(self) -> Iterator[Row]:
        """Yield the orders, each with its items."""
        begin = 0
        for number, size in enumerate(self.sizes):
            end = begin + size
            items = [
                {"sku": self.skus[i], "quantity": self.quantities[i], "unit_price_e4": self.prices[i]}
                for i in range(begin, end)
            ]
            yield {
                "event_id": self.ids[number],
                "occurred_at": self.times[number],
                "source": "bench",
                "order_id": f"order-{number:010}",
                "customer_id": f"customer-{self.customers[number]:05}",
                "country": self.countries[number],
                "currency": "GBP",
                "amount_e4": sum(map(mul, self.quantities[begin:end], self.prices[begin:end])),
                "items": items,
            }
            begin = end

    def truth(self) -> dict[str, pl.DataFrame]:
        """Return the answers, computed in another way than :meth:`rows` and than the pipeline."""
        placed = pl.DataFrame({"occurred_at": self.times, "country": self.countries, "size": self.sizes})
        items = pl.DataFrame({"sku": self.skus, "quantity": self.quantities, "price": self.prices})
        items = items.with_columns(value=pl.col("quantity") * pl.col("price"))
        of_order = placed.with_row_index("order").select(pl.col("order", "occurred_at").repeat_by("size").explode())
        sums = pl.concat([items, of_order], how="horizontal").group_by("order").agg(pl.col("quantity", "value").sum())
        placed = pl.concat([placed, sums.sort("order")], how="horizontal")
        return {
            "order_metrics": _by(
                placed, "country",
                orders=pl.len(),
                revenue_e4=pl.col("value").sum(),
                largest_order_e4=pl.col("value").max(),
                units=pl.col("quantity").sum(),
            ),
            "product_sales": _by(
                pl.concat([items, of_order], how="horizontal"), "sku",
                units=pl.col("quantity").sum(), revenue_e4=pl.col("value").sum(),
            ),
            "order_panes": _by(placed, applied=pl.len()),
        }  # fmt: skip


def _truth_of_readings(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    value = pl.col("value_e6")
    return {
        "telemetry_metrics": _by(
            rows, "sensor", "device_id",
            readings=pl.len(),
            sum_e6=value.sum(),
            min_e6=value.min(),
            max_e6=value.max(),
            last_e6=value.sort_by("occurred_at", "event_id").last(),
        ),
        "telemetry_panes": _by(rows, applied=pl.len()),
    }  # fmt: skip


def _by(rows: pl.DataFrame, *keys: str, **measures: pl.Expr) -> pl.DataFrame:
    pane = (pl.col("occurred_at") // PANE_MS * PANE_MS).alias("pane_start")
    counted = {name: measure.cast(pl.Int64) for name, measure in measures.items()}
    return rows.group_by(pane, *keys).agg(**counted).sort("pane_start", *keys)


def _times(count: int, a_second: int, rng: random.Random) -> list[int]:
    delays = rng.choices(range(DISORDER_MS), k=count)
    return [BEGIN_MS + number * 1_000 // a_second + delays[number] for number in range(count)]


def _zipf(ranks: int) -> Sequence[float]:
    return list(accumulate(1 / rank for rank in range(1, ranks + 1)))


def _closing(topic: str, newest_ms: int, ids: SchemaIds) -> bytes:
    later = newest_ms + PANE_MS + ALLOWED_DISORDER_MS
    record = {"event_id": _uuids(1, random.Random(0))[0], "occurred_at": later, "source": "bench"}
    return _encoder("Heartbeat", topic, ids).encode(record)


def _encoder(name: str, topic: str, ids: SchemaIds) -> Encoder:
    contract = load_contracts()[name]
    return Encoder(contract, ids.id_of(contract, BY_NAME[topic]))


def _uuids(count: int, rng: random.Random) -> list[str]:
    text = rng.randbytes(16 * count).hex()
    digits = (text[begin : begin + 32] for begin in range(0, 32 * count, 32))
    return [f"{d[:8]}-{d[8:12]}-4{d[13:16]}-a{d[17:20]}-{d[20:]}" for d in digits]
