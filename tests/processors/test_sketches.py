"""Sketches: their cells by three programs, their merging in any order, and how near they come to the numbers."""

import math
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.metrics import METRICS, SLOTS, Buckets, Registers
from processors.aggregate import OpenGroups, answers, partials
from processors.fates import PANE
from processors.sketches import OpenRegisters, _registers_and_ranks, hashes, middles, with_sketch
from referee import sketches as referee
from simulation import model

METRIC = {metric.name: metric for metric in METRICS}
QUANTILES, DISTINCT = METRIC["reading_quantiles"], METRIC["distinct_customers"]
LARGEST = 10**15
"""A reading's largest value, in 1/1,000,000."""

sizes = st.one_of(st.integers(-200, 200), st.integers(-LARGEST, LARGEST))
texts = st.one_of(
    st.text(max_size=40), st.text("aé€😀", max_size=12), st.integers(0, 99_999).map("customer-{:05}".format)
)
HASHES = [
    "9e3779b97f4a7c15", "97956212fcbbd79a", "296e394764dd65ba", "be164db5984637fe", "87e200e5950419ab",
    "3e499a322e13a6f8",
]  # fmt: skip
BOUNDARIES = sorted(set(range(1, 300)) | {10**n + d for n in range(3, 16) for d in (-1, 0, 1)})


@settings(max_examples=40)
@given(st.lists(sizes, min_size=1, max_size=30))
def test_a_number_moves_by_at_most_a_hundredth_and_overtakes_none(numbers: list[int]) -> None:
    numbers.sort()
    moved = middles(pl.Series(numbers, dtype=pl.Int64), 1).to_list()
    assert all(100 * abs(there - here) <= abs(here) for here, there in zip(numbers, moved, strict=True))
    assert moved == sorted(moved)
    assert moved == [-there for there in middles(pl.Series([-n for n in numbers], dtype=pl.Int64), 1)]


def test_the_buckets_are_the_same_by_three_programs() -> None:
    numbers = [0, *BOUNDARIES, *(-edge for edge in BOUNDARIES), *random.Random(5).sample(range(LARGEST), 300)]
    rows = pl.DataFrame({"value_e6": numbers})
    ours = with_sketch(QUANTILES, rows).sort("value_e6")
    others = referee.with_sketch(QUANTILES, rows).sort("value_e6")
    assert ours["bucket_e6"].to_list() == others["bucket_e6"].to_list()
    told = [(model._sketched(QUANTILES, {"value_e6": number}) or {})["bucket_e6"] for number in sorted(numbers)]
    assert ours["bucket_e6"].to_list() == told


@settings(max_examples=40)
@given(st.lists(texts, min_size=1, max_size=20))
def test_registers_and_ranks_are_the_same_by_three_programs(known: list[str]) -> None:
    registers, ranks = _registers_and_ranks(hashes(pl.Series(known, dtype=pl.String)))
    ours = list(zip(registers.tolist(), ranks.tolist(), strict=True))
    assert ours == [referee.register_and_rank(text) for text in known]
    assert ours == [model._register_and_rank(text.encode()) for text in known]


def test_the_hash_never_changes() -> None:
    known = hashes(pl.Series(["", "a", "c-000001", "customer-00042", "Ærø 😀", "x" * 1_000], dtype=pl.String))
    assert [f"{number:016x}" for number in known.tolist()] == HASHES


def test_ranks_of_a_hash_without_a_one_are_the_largest() -> None:
    zeros, last, first = 1 << 50, 1 << 50 | 1 << 11, 1 << 50 | 1 << 49
    registers, ranks = _registers_and_ranks(np.array([zeros, zeros | (1 << 11) - 1, last, first], np.uint64))
    assert (registers.tolist(), ranks.tolist()) == ([1] * 4, [40, 40, 39, 1])


rows_of_orders = st.lists(
    st.tuples(st.sampled_from((0, 60_000, 120_000)), st.one_of(st.none(), st.integers(0, 500).map(str))), max_size=60
)


def orders(rows: list[tuple[int, str | None]]) -> dict[str, pl.DataFrame]:
    return {"OrderPlaced": pl.DataFrame(rows, schema={PANE: pl.Int64, "customer_id": pl.String}, orient="row")}


def told(rows: list[tuple[int, str | None]]) -> dict[tuple[int, int], list[int]]:
    """Return the blocks of registers by pane and number, told customer by customer."""
    found: dict[tuple[int, int], list[int]] = {}
    for pane, customer in rows:
        if customer is not None:
            register, rank = referee.register_and_rank(customer)
            block = found.setdefault((pane, register // 32), [0] * 32)
            block[register % 32] = max(block[register % 32], rank)
    return found


def open_registers() -> OpenRegisters:
    assert isinstance(DISTINCT.sketch, Registers)
    return OpenRegisters(DISTINCT, DISTINCT.sketch)


def blocks(frame: pl.DataFrame | None) -> dict[tuple[int, int], list[int]]:
    if frame is None:
        return {}
    assert frame.columns == [PANE, "block", *SLOTS]
    return {(row[0], row[1]): list(row[2:]) for row in frame.iter_rows()}


@settings(max_examples=25)
@given(rows=rows_of_orders, seed=st.integers(0, 99))
def test_registers_are_the_same_bits_however_events_are_ordered_and_split(
    rows: list[tuple[int, str | None]], seed: int
) -> None:
    chance = random.Random(seed)
    shuffled = chance.sample(rows, len(rows))
    groups, changed = open_registers(), {}
    while shuffled:
        size = chance.randint(1, 20)
        part, shuffled = shuffled[:size], shuffled[size:]
        groups.fold(orders(part))
        if chance.random() < 0.5:
            taken = blocks(groups.take_changed())
            assert all(changed.get(key) != ranks for key, ranks in taken.items()), "sent again without a change"
            changed |= taken
    changed |= blocks(groups.take_changed())
    assert changed == told(rows)
    assert groups.take_changed() is None
    assert len(groups) == len(changed)
    final = blocks(groups.take_final(119_999))
    assert final == {key: ranks for key, ranks in told(rows).items() if key[0] == 0}
    assert groups.take_changed() is None
    assert blocks(groups.take_final(180_000)) == {key: ranks for key, ranks in told(rows).items() if key[0] > 0}
    assert (len(groups), groups.take_final(1 << 50)) == (0, None)


@settings(max_examples=25)
@given(rows=st.lists(st.tuples(st.sampled_from((0, 60_000)), sizes), min_size=1, max_size=40), seed=st.integers(0, 9))
def test_buckets_merge_in_any_order_and_split_to_the_same_bits(rows: list[tuple[int, int]], seed: int) -> None:
    def source(part: list[tuple[int, int]]) -> dict[str, pl.DataFrame]:
        frame = pl.DataFrame(part, schema={PANE: pl.Int64, "value_e6": pl.Int64}, orient="row")
        return {"ReadingTaken": frame.with_columns(sensor=pl.lit("CPU"))}

    chance, keys = random.Random(seed), (PANE, "sensor", "bucket_e6")
    (whole,) = answers(partials(QUANTILES, source(rows)))
    groups, left = OpenGroups(QUANTILES), chance.sample(rows, len(rows))
    while left:
        size = chance.randint(1, 9)
        groups.fold(source(left[:size]))
        left = left[size:]
    merged = groups.take_final(120_000)
    assert merged is not None
    assert merged.sort(keys).rows() == whole.sort(keys).rows()


@pytest.mark.parametrize("count", [1, 10, 100, 1_000, 5_000, 12_000, 25_000, 41_000, 60_000, 100_000, 400_000])
def test_an_estimate_is_within_three_percent(count: int) -> None:
    for seed in range(3 if count < 100_000 else 1):
        names = (pl.select(pl.int_range(count)).to_series() * 7_919 + seed * 10**9).cast(pl.String)
        registers, ranks = _registers_and_ranks(hashes(names))
        table = np.zeros(1 << 14, np.int64)
        np.maximum.at(table, registers, ranks)
        estimate = referee.customers(table[table > 0].tolist())
        assert math.isclose(estimate, count, rel_tol=0.03), (count, estimate)


def test_the_declarations_say_what_is_measured_here() -> None:
    assert isinstance(QUANTILES.sketch, Buckets)
    assert QUANTILES.sketch.error_percent == 1
    assert isinstance(DISTINCT.sketch, Registers)
    assert [measure.column for measure in DISTINCT.measures] == list(SLOTS)
