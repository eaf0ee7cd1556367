"""Rows in buckets: all come back, in their order, and equal keys together; little is held."""

from pathlib import Path

import polars as pl
import pytest

from referee import spill
from referee.ids import EXAMPLES, IdsByPartition
from referee.log import SPINE
from referee.spill import Buckets, Spill

SCHEMA = {"key": pl.String, "n": pl.Int64}


@pytest.fixture(params=[2, 10, 1_000])
def held(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Rows that a spill may hold."""
    monkeypatch.setattr(spill, "HELD_ROWS", request.param)
    return int(request.param)


def rows(*numbers: int) -> pl.DataFrame:
    return pl.DataFrame({"key": [f"k{n % 7}" for n in numbers], "n": list(numbers)}, schema=SCHEMA)


def test_all_rows_come_back_in_their_order_and_equal_keys_in_one_bucket(tmp_path: Path, held: int) -> None:
    one, other = (Spill(Buckets(tmp_path, 4), name, SCHEMA, "key") for name in ("one", "other"))
    for begin in range(0, 90, 3):
        one.add(rows(begin, begin + 1, begin + 2))
        assert one.held_rows <= held + 3
    other.add(rows(*range(7)))
    buckets = [one.bucket(number) for number in range(one.buckets)]
    assert sorted(n for bucket in buckets for n in bucket["n"]) == list(range(90))
    for number, bucket in enumerate(buckets):
        assert set(bucket["key"]) == set(other.bucket(number)["key"])
        for _, same in bucket.group_by("key"):
            assert same["n"].is_sorted()
    assert bool(list(tmp_path.iterdir())) == (held < 90)
    one.remove()
    assert list(tmp_path.glob("one-*")) == []


def test_few_keys_never_reach_the_disk_where_only_the_newest_is_kept(tmp_path: Path, held: int) -> None:
    kept = Spill(Buckets(tmp_path, 3), "newest", SCHEMA, "key", lambda all_rows: all_rows.unique("key", keep="last"))
    for n in range(500):
        kept.add(rows(n))
    found = pl.concat(kept.bucket(number) for number in range(3)).unique("key", keep="last", maintain_order=True)
    assert sorted(found["n"]) == list(range(493, 500))
    assert bool(list(tmp_path.iterdir())) == (held // 2 < 7)


def spine(*ids: str, first: int = 0) -> pl.DataFrame:
    columns = ("offset", "event_id", "kind", "reason")
    events = [(first + at, event_id, "OrderPlaced", None) for at, event_id in enumerate(ids)]
    return pl.DataFrame(events, schema={name: SPINE[name] for name in columns}, orient="row")


def test_an_id_in_two_partitions_is_found_and_one_twice_in_its_partition_is_not(tmp_path: Path, held: int) -> None:
    ids = IdsByPartition("orders", Buckets(tmp_path, 2))
    ids.add(spine("a", "b", "b", "c"), 0)
    ids.add(spine("d", "a", first=7), 1)
    ids.add(spine("a"), 2)
    found = ids.split()
    assert (found.count, found.examples) == (1, {"a": ["orders/0@0", "orders/1@8", "orders/2@0"]})


def test_all_split_ids_are_counted_and_a_few_named(tmp_path: Path, held: int) -> None:
    ids = IdsByPartition("orders", Buckets(tmp_path, 2))
    for partition in range(2):
        ids.add(spine(*(f"id{n}" for n in range(50))), partition)
    found = ids.split()
    assert (found.count, len(found.examples)) == (50, EXAMPLES)


def test_heartbeats_and_records_that_cannot_be_used_have_no_part_in_it(tmp_path: Path, held: int) -> None:
    ids = IdsByPartition("orders", Buckets(tmp_path, 1))
    beat = spine("a").with_columns(kind=pl.lit("Heartbeat"))
    dead = spine("b").with_columns(reason=pl.lit("ahead-of-time"))
    for partition in range(2):
        ids.add(pl.concat([beat, dead]), partition)
    assert ids.split().count == 0
