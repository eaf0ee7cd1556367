"""Sketches once more, by other code than the stages': the cells of each event, and what a relation makes of cells.

The rules are those of :class:`penstock.metrics.Buckets` and :class:`penstock.metrics.Registers`.
"""

import math
from functools import cache, lru_cache
from typing import Any

import polars as pl

from penstock.metrics import INDEX_BITS, RANK_BITS, SLOTS, Buckets, Metric, Registers

PERCENTS = (50, 95, 99)
_MASK = (1 << 64) - 1
_REGISTERS = 1 << INDEX_BITS
_KNOWN_TEXTS = 200_000


def group_types(metric: Metric) -> dict[str, Any]:
    """Return the types of the columns that group a metric: texts, or the whole numbers of a sketch."""
    own = () if metric.sketch is None else metric.sketch.names
    return {name: pl.Int64 if name in own else pl.String for name in metric.group}


def with_sketch(metric: Metric, rows: pl.DataFrame) -> pl.DataFrame:
    """Return ``rows`` with the columns of the metric's sketch, without those that are not in it; else as they are."""
    sketch = metric.sketch
    if isinstance(sketch, Buckets):
        return _with_middles(sketch, rows)
    return _with_ranks(sketch, rows) if isinstance(sketch, Registers) else rows


@cache
def _lows_and_middles(error_percent: int) -> pl.DataFrame:
    rows, low = [(0, 0)], 1
    while low < 1 << 62:
        middle = low + low * error_percent // 100
        rows.append((low, middle))
        low = 100 * middle // (100 - error_percent) + 1
    return pl.DataFrame(rows, schema={"_size": pl.Int64, "_middle": pl.Int64}, orient="row").set_sorted("_size")


def _with_middles(sketch: Buckets, rows: pl.DataFrame) -> pl.DataFrame:
    number = pl.col(sketch.column).cast(pl.Int64)
    sized = rows.with_columns(_size=number.abs()).sort("_size")
    found = sized.join_asof(_lows_and_middles(sketch.error_percent), on="_size", strategy="backward")
    return found.with_columns((pl.col("_middle") * number.sign()).alias(sketch.name)).drop("_size", "_middle")


def _with_ranks(sketch: Registers, rows: pl.DataFrame) -> pl.DataFrame:
    texts = rows[sketch.column].drop_nulls().unique()
    cells = [register_and_rank(text) for text in texts]
    types = {"_register": pl.Int64, "_rank": pl.Int64}
    named = pl.DataFrame(cells, schema=types, orient="row").with_columns(texts.alias(sketch.column))
    register, rank = pl.col("_register"), pl.col("_rank")
    slots = [
        pl.when(register % len(SLOTS) == number).then(rank).otherwise(0).alias(slot)
        for number, slot in enumerate(SLOTS)
    ]
    found = rows.join(named, on=sketch.column, how="inner", maintain_order="left")
    return found.with_columns((register // len(SLOTS)).alias(sketch.name), *slots).drop("_register", "_rank")


@lru_cache(_KNOWN_TEXTS)
def register_and_rank(text: str) -> tuple[int, int]:
    """Return the register that a text falls in, and its rank there."""
    data = text.encode()
    found = 0x9E3779B97F4A7C15 ^ len(data)
    for at in range(0, len(data), 8):
        found ^= int.from_bytes(data[at : at + 8], "little")
        for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
            found = (found ^ found >> 33) * factor & _MASK
        found ^= found >> 33
    register, rest = divmod(found, 1 << 64 - INDEX_BITS)
    bits = f"{rest:0{64 - INDEX_BITS}b}"[:RANK_BITS]
    return register, (bits + "1").index("1") + 1


def relation_columns(metric: Metric) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return by what the relations of a metric are grouped, besides their windows, and what they show."""
    if metric.sketch is None:
        return metric.group, tuple(measure.name for measure in metric.measures)
    group = tuple(name for name in metric.group if name != metric.sketch.name)
    if isinstance(metric.sketch, Registers):
        return group, ("customers",)
    return group, (*(measure.name for measure in metric.measures), *(f"p{percent}_e6" for percent in PERCENTS))


def relation_of(metric: Metric, windows: pl.DataFrame) -> pl.DataFrame:
    """Return what relations show of ``windows``: of each (``window_start_ms``) its cells, merged, with ``final``."""
    if isinstance(metric.sketch, Buckets):
        return _quantiles(metric, metric.sketch, windows)
    return _estimates(windows) if isinstance(metric.sketch, Registers) else windows


def _quantiles(metric: Metric, sketch: Buckets, windows: pl.DataFrame) -> pl.DataFrame:
    (count,) = (measure.name for measure in metric.measures)
    keys = ["window_start_ms", *(name for name in metric.group if name != sketch.name)]
    ranked = windows.sort(sketch.name).with_columns(
        pl.col(count).cum_sum().over(keys).alias("_upto"), pl.col(count).sum().over(keys).alias("_all")
    )
    places = [
        pl.col(sketch.name).filter(100 * pl.col("_upto") >= percent * pl.col("_all")).first().alias(f"p{percent}_e6")
        for percent in PERCENTS
    ]
    return ranked.group_by(keys, maintain_order=True).agg(pl.col(count).sum(), pl.col("final").min(), *places)


def _estimates(windows: pl.DataFrame) -> pl.DataFrame:
    rows = []
    for (start,), blocks in windows.group_by("window_start_ms", maintain_order=True):
        ranks = [rank for slot in SLOTS for rank in blocks[slot].cast(pl.Int64).to_list() if rank]
        rows.append((start, customers(ranks), blocks["final"].min()))
    types = {"window_start_ms": pl.Int64, "customers": pl.Int64, "final": pl.Int64}
    return pl.DataFrame(rows, schema=types, orient="row")


def customers(ranks: list[int]) -> int:
    """Return how many texts the registers speak of: those of ``ranks`` have one, all others none.

    The improved raw estimator of Ertl (*New cardinality estimation algorithms for HyperLogLog sketches*, 2017).
    """
    empty = (_REGISTERS - len(ranks)) / _REGISTERS
    sigma, power, weight = empty, empty, 1.0
    while power > 1e-9:
        power *= power
        sigma += power * weight
        weight *= 2
    harmonic = math.fsum(2.0**-rank for rank in ranks)
    return round(_REGISTERS * _REGISTERS / (2 * math.log(2)) / (harmonic + _REGISTERS * sigma))
