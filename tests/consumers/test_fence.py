"""The compare-and-set: of two instances one merges each record, whoever is slow, stopped or repeated."""

import itertools
import random
from collections.abc import Callable

import pytest

from consumers.materializer import Fenced
from consumers.stores import Store
from consumers.tables import prepare
from penstock.errors import ProtectiveStop
from tests.consumers import builders
from tests.consumers.builders import NOON, Instance, read, views

Connect = Callable[[], Store]


def two(connect: Connect, view: str = "orders") -> tuple[Instance, Instance]:
    first, second = connect(), connect()
    prepare(first, [views()[view]], 1)
    prepare(second, [views()[view]], 1)
    return Instance(first), Instance(second)


def test_an_instance_that_fell_behind_changes_nothing(connect: Connect) -> None:
    ahead, behind = two(connect)
    ahead.settle("orders", "orders", [builders.placed("o1", NOON)])
    behind.look()
    ahead.settle("orders", "orders", [builders.placed("o2", NOON)])
    with pytest.raises(Fenced, match=r"view orders, orders\[0\]"):
        behind.settle("orders", "orders", [builders.placed("o2", NOON), builders.placed("o3", NOON)])
    assert read(ahead.store, "orders", "order_id") == [("o1",), ("o2",)]
    assert behind.look().next("orders", "orders") == 2


def test_of_two_that_begin_together_one_is_fenced(connect: Connect) -> None:
    first, second = two(connect)
    first.settle("orders", "orders", [builders.placed("o1", NOON)])
    with pytest.raises(Fenced):
        second.settle("orders", "orders", [builders.placed("o1", NOON), builders.placed("o2", NOON)])
    assert read(first.store, "offsets", "view, version, topic, topic_id, partition, next") == [
        ("orders", 1, "orders", builders.TOPIC_ID, 0, 1)
    ]


def test_a_batch_that_the_view_holds_a_part_of_adds_the_rest(connect: Connect) -> None:
    instance, _ = two(connect)
    events = [builders.placed(f"o{n}", NOON) for n in range(4)]
    instance.settle("orders", "orders", events[:2])
    others = [builders.cancelled("o0", NOON), builders.cancelled("o1", NOON)]
    instance.settle("orders", "orders", [*others, *events[2:]], begin=0)
    assert read(instance.store, "orders", "order_id, status") == [(f"o{n}", "placed") for n in range(4)]
    assert instance.look().next("orders", "orders") == 4
    instance.settle("orders", "orders", [builders.cancelled("o0", NOON)], 0)
    assert read(instance.store, "orders", "order_id, status")[0] == ("o0", "placed")


def test_a_batch_that_begins_behind_a_hole_stops(connect: Connect) -> None:
    instance, _ = two(connect)
    instance.settle("orders", "orders", [builders.placed("o1", NOON)])
    with pytest.raises(ProtectiveStop, match="read from offset 3, the view needs 1"):
        instance.settle("orders", "orders", [builders.placed("o2", NOON)], begin=3)
    with pytest.raises(ProtectiveStop, match="the view needs 0"):
        instance.settle("orders", "orders", [builders.placed("o2", NOON)], begin=3, partition=1)


def test_rows_and_offset_are_kept_together_or_not_at_all(connect: Connect) -> None:
    instance, _ = two(connect)

    def fail_behind_the_writes() -> None:
        with instance.store.transaction() as transaction:
            transaction.execute("INSERT INTO orders_v1 (order_id) VALUES ('o1')")
            transaction.execute("INSERT INTO offsets VALUES ('orders', 1, 'orders', 'id', 0, 5)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_behind_the_writes()
    assert read(instance.store, "orders_v1") == read(instance.store, "offsets") == []


@pytest.mark.parametrize("seed", range(3))
def test_instances_that_take_turns_at_random_merge_each_record_once(connect: Connect, seed: int) -> None:
    """Counted by rows that only grow if a batch is applied twice: two tables of the same log must agree."""
    rng = random.Random(seed)
    instances = two(connect)
    log = [builders.placed(f"o{n % 7}", NOON + n, n, amount_e4=n) for n in range(60)]
    fenced = 0
    for turn in itertools.count():
        instance = instances[rng.randrange(2)]
        begin = instance.next("orders", "orders")
        if begin == len(log):
            if instance.look().next("orders", "orders") == len(log):
                break
            continue
        try:
            instance.settle("orders", "orders", log[begin : begin + rng.randint(1, 9)])
        except Fenced:
            fenced += 1
            instance.look()
        assert turn < 1000
    assert fenced > 0
    newest = {fields["order_id"]: fields["amount_e4"] for _, fields in log}
    assert dict(read(instances[0].store, "orders", "order_id, amount_e4")) == newest
