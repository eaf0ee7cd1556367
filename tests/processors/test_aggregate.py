"""Partial aggregates and open groups: mergeable in any order, exact, loud when a sum does not fit."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.errors import ProtectiveStop
from penstock.metrics import Measure, Metric, metrics_of
from processors.aggregate import OpenGroups, answers, merge, partials
from processors.fates import PANE

PRICED = Metric(
    "priced", "orders", "X", "x", ("sku",),
    (
        Measure("n", "count", "Sold"),
        Measure("value_e4", "sum", "Sold", "quantity", times="unit_price_e4"),
        Measure("units", "sum", "Sold", "quantity"),
        Measure("least", "min", "Sold", "quantity"),
        Measure("most", "max", "Sold", "quantity"),
        Measure("last_quantity", "last", "Sold", "quantity"),
    ),
)  # fmt: skip


def sold(*rows: tuple[int, str, int, int, int, str]) -> dict[str, pl.DataFrame]:
    """Return rows of (pane, sku, quantity, unit price, occurred_at, event_id) as the one source."""
    names = (PANE, "sku", "quantity", "unit_price_e4", "occurred_at", "event_id")
    types = (pl.Int64, pl.String, pl.Int32, pl.Int64, pl.Int64, pl.String)
    return {"Sold": pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")}


def one(*rows: tuple[int, str, int, int, int, str]) -> pl.DataFrame:
    (frame,) = answers(partials(PRICED, sold(*rows)))
    return frame


def merged_of(*parts: pl.DataFrame) -> pl.DataFrame:
    (frame,) = answers([merge(PRICED, parts)])
    return frame


events = st.lists(
    st.tuples(
        st.sampled_from((0, 60_000)), st.sampled_from("ab"), st.integers(-5, 5), st.integers(0, 10**11),
        st.integers(0, 3), st.integers(0, 10**6).map("{:07}".format),
    ),
    min_size=1, max_size=40, unique_by=lambda row: row[5],
)  # fmt: skip


@settings(max_examples=60)
@given(rows=events, seed=st.integers(0, 9))
def test_partial_aggregates_merge_in_any_order_and_grouping_to_the_same_bits(
    rows: list[tuple[int, ...]], seed: int
) -> None:
    whole = one(*rows)  # type: ignore[arg-type]
    chance = random.Random(seed)
    parts = [one(row) for row in rows]  # type: ignore[arg-type]
    while len(parts) > 1:
        chance.shuffle(parts)
        count = chance.randint(2, len(parts))
        parts = [merged_of(*parts[:count]), *parts[count:]]
    assert parts[0].sort(PANE, "sku").equals(whole.sort(PANE, "sku"))
    assert parts[0].schema == whole.schema


def test_the_last_value_is_that_of_the_largest_time_and_then_event_id() -> None:
    merged = merged_of(one((0, "a", 1, 1, 5, "b")), one((0, "a", 2, 1, 5, "c")), one((0, "a", 3, 1, 4, "z")))
    assert merged.select("last_quantity", "last_at", "last_event_id").row(0) == (2, 5, "c")


def test_a_metric_without_any_of_its_sources_brings_nothing() -> None:
    assert partials(PRICED, {}) == []
    assert partials(PRICED, {"Sold": sold()["Sold"]}) == []
    assert partials(metrics_of("orders")[0], sold((0, "a", 1, 1, 1, "x"))) == []


def test_a_product_and_a_sum_that_are_beyond_64_bits_stop_loudly_and_never_wrap() -> None:
    groups = OpenGroups(PRICED)
    groups.add(one((0, "a", 2**31 - 1, 2**40, 1, "x")))
    with pytest.raises(ProtectiveStop, match=r"priced\.value_e4 of a group is beyond 18 digits"):
        groups.take_changed()


@pytest.mark.parametrize(("name", "limit"), [("wide", 2**63), ("wide_e4", 10**18)])
def test_sums_up_to_the_limit_are_exact_and_one_more_stops(name: str, limit: int) -> None:
    metric = Metric("m", "orders", "X", "x", (), (Measure(name, "sum", "Sold", "unit_price_e4"),))

    def summed(*values: int) -> OpenGroups:
        groups = OpenGroups(metric)
        for value in values:
            groups.fold(sold((0, "a", 1, value, 1, "x")))
        return groups

    taken = summed(limit - 2, 1).take_final(60_000)
    assert taken is not None
    assert taken[name].to_list() == [limit - 1]
    assert taken.schema[name] == pl.Int64
    for values in ((limit - 1, 1), (1 - limit, -1)):
        with pytest.raises(ProtectiveStop, match=rf"m\.{name}"):
            summed(*values).take_final(60_000)


def test_changed_groups_are_given_once_and_final_ones_leave() -> None:
    groups = OpenGroups(PRICED)
    assert groups.take_changed() is None
    assert groups.take_final(60_000) is None
    groups.add(one((0, "a", 1, 1, 1, "p"), (60_000, "b", 1, 1, 1, "q")))
    changed = groups.take_changed()
    assert changed is not None
    assert sorted(changed["sku"]) == ["a", "b"]
    assert groups.take_changed() is None

    groups.add(one((60_000, "b", 1, 1, 2, "r")))
    changed = groups.take_changed()
    assert changed is not None
    assert changed.select("sku", "n", "last_event_id").rows() == [("b", 2, "r")]

    assert groups.take_final(59_999) is None
    final = groups.take_final(60_000)
    assert final is not None
    assert final["sku"].to_list() == ["a"]
    assert (len(groups), groups.take_final(60_000)) == (1, None)


def test_a_group_that_changed_and_became_final_is_only_final() -> None:
    groups = OpenGroups(PRICED)
    groups.add(one((0, "a", 1, 1, 1, "p")))
    assert groups.take_final(60_000) is not None
    assert groups.take_changed() is None


def test_many_small_additions_are_exact_however_they_were_piled() -> None:
    groups = OpenGroups(PRICED)
    for number in range(130):
        groups.add(one(*((0, f"s{n}", 1, 2, number, f"{number}-{n}") for n in range(100))))
    changed = groups.take_changed()
    assert changed is not None
    assert len(changed) == 100
    assert set(changed["n"]) == {130}
    assert set(changed["value_e4"]) == {260}
    assert set(changed["last_at"]) == {129}
