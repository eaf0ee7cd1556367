"""The declarations of the metrics: what is measured, never how.

How a metric is folded, stored or checked is each stage's own business; they agree on these lines. A new metric
is one :class:`Metric` in :data:`METRICS`, the ``.avsc`` of its result, and the ``.sql`` of its view.

A measure reads a *source*: a record's name (``OrderPlaced``), or the items of its array (``OrderPlaced.items``,
whose rows also have the record's own columns). Columns have the codec's names: decimals and readings are
integers with their scale behind (``amount_e4``, ``value_e6``).

What can't be added up as it is (quantiles, how many are different) is kept as a *sketch*, whose cells can: they are
groups and measures like all others.
"""

from dataclasses import dataclass
from typing import Literal

Aggregate = Literal["count", "sum", "min", "max", "last"]


@dataclass(frozen=True)
class Buckets:
    """A sketch of quantiles: the column ``name`` is ``column``, a whole number, moved to the middle of its bucket.

    Buckets grow with the values, as in DDSketch (Masson, Rim, Lee: *DDSketch: a fast and fully-mergeable quantile
    sketch with relative-error guarantees*, VLDB 2019), but their borders are whole numbers, so that no two programs can
    disagree about one. The first begins at 1; one that begins at ``low`` has its middle at
    ``low × (100 + e) // 100`` and ends at ``high = middle × 100 // (100 - e)``, where ``e`` is ``error_percent``; the
    next begins at ``high + 1``. Negative numbers mirror them, and 0 is its own. So a number moves by at most ``e``
    percent of itself, none overtakes another, and every quantile of the moved numbers is within ``e`` percent of the
    same (nearest-rank) quantile of the numbers themselves. What is counted by bucket is added up over partitions and
    time.
    """

    column: str
    name: str
    error_percent: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it makes."""
        return (self.name,)


INDEX_BITS, SLOT_BITS, RANK_BITS = 14, 5, 39
"""Bits of a hash that choose one of the 16,384 registers, those of them that choose a slot of a block, and those that a
rank is taken from."""

SLOTS = tuple(f"r{number}" for number in range(1 << SLOT_BITS))
"""The columns of a block of registers."""


@dataclass(frozen=True)
class Registers:
    """A sketch of how many different texts there are in ``column``: the column ``name`` is the block that an event's
    register is in, and of :data:`SLOTS` the register's own is its rank and the others are 0. Nulls are left out.

    HyperLogLog (Flajolet, Fusy, Gandouet, Meunier: *HyperLogLog: the analysis of a near-optimal cardinality estimation
    algorithm*, AofA 2007), with a standard error of 1.04 / √16,384 = 0.8 %. The hash is ours, for those of libraries
    change: ``h`` begins as ``0x9E3779B97F4A7C15 ^ (number of bytes)`` of the UTF-8 text; for every 8 bytes, the last
    ones filled up with zeros and read as a little-endian number ``w``, it becomes ``mix(h ^ w)``, where ``mix`` is the
    finalizer of MurmurHash3 (Appleby): ``^= >> 33, *= 0xFF51AFD7ED558CCD, ^= >> 33, *= 0xC4CEB9FE1A85EC53, ^= >> 33``.
    Its upper 14 bits are the register: 9 of them its block, 5 its slot. Of the 39 bits below, the rank is the place of
    the first one, from 1 on; 40 if there is none. The largest rank counts, over partitions and time.
    """

    column: str
    name: str
    hash: str = "murmur3-fmix64 of words"
    bits: tuple[int, int, int] = (INDEX_BITS, SLOT_BITS, RANK_BITS)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that it makes."""
        return (self.name, *SLOTS)


@dataclass(frozen=True)
class Measure:
    """One number of a metric; each merges with itself in any order, to the same bits.

    ``last`` is the column of the newest record by (``occurred_at``, ``event_id``) and brings those two along
    as ``last_at`` and ``last_event_id``. ``times`` names a column to multiply with before a sum.
    ``source`` ``*`` counts every applied event of the topic.
    """

    name: str
    aggregate: Aggregate
    source: str
    column: str = ""
    times: str = ""


@dataclass(frozen=True)
class Metric:
    """Measures by pane and group. ``result`` is the contract of its rows, sent to ``results`` and, when the
    pane is final, to ``{results}-final``. ``group`` names columns that all of its sources have; a group column of
    free text comes last. A metric with a ``sketch`` may use the columns that this makes, as any others."""

    name: str
    topic: str
    result: str
    results: str
    group: tuple[str, ...]
    measures: tuple[Measure, ...]
    sketch: Buckets | Registers | None = None


METRICS = (
    Metric(
        "order_metrics", "orders", "OrderMetrics", "order-metrics", ("country",),
        (
            Measure("orders", "count", "OrderPlaced"),
            Measure("revenue_e4", "sum", "OrderPlaced", "amount_e4"),
            Measure("largest_order_e4", "max", "OrderPlaced", "amount_e4"),
            Measure("units", "sum", "OrderPlaced.items", "quantity"),
            Measure("cancellations", "count", "OrderCancelled"),
            Measure("cancelled_e4", "sum", "OrderCancelled", "amount_e4"),
        ),
    ),
    Metric(
        "product_sales", "orders", "ProductSales", "order-metrics", ("sku",),
        (
            Measure("units", "sum", "OrderPlaced.items", "quantity"),
            Measure("revenue_e4", "sum", "OrderPlaced.items", "quantity", times="unit_price_e4"),
        ),
    ),
    Metric(
        "distinct_customers", "orders", "CustomerRegisters", "order-metrics", ("block",),
        tuple(Measure(slot, "max", "OrderPlaced", slot) for slot in SLOTS),
        Registers("customer_id", "block"),
    ),
    Metric(
        "telemetry_metrics", "telemetry", "TelemetryMetrics", "telemetry-metrics", ("sensor", "device_id"),
        (
            Measure("readings", "count", "ReadingTaken"),
            Measure("sum_e6", "sum", "ReadingTaken", "value_e6"),
            Measure("min_e6", "min", "ReadingTaken", "value_e6"),
            Measure("max_e6", "max", "ReadingTaken", "value_e6"),
            Measure("last_e6", "last", "ReadingTaken", "value_e6"),
        ),
    ),
    Metric(
        "reading_quantiles", "telemetry", "ReadingBucket", "telemetry-metrics", ("sensor", "bucket_e6"),
        (Measure("readings", "count", "ReadingTaken"),),
        Buckets("value_e6", "bucket_e6"),
    ),
    Metric("order_panes", "orders", "PaneCounted", "order-metrics", (), (Measure("applied", "count", "*"),)),
    Metric(
        "telemetry_panes", "telemetry", "PaneCounted", "telemetry-metrics", (),
        (Measure("applied", "count", "*"),),
    ),
)  # fmt: skip


def metrics_of(topic: str) -> tuple[Metric, ...]:
    """Return the metrics that are folded from ``topic`` (its logical name)."""
    return tuple(metric for metric in METRICS if metric.topic == topic)
