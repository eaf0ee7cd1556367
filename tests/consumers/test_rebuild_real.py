"""Rebuilding a view on a real broker: topic ids, logs that were trimmed, a view that is kept meanwhile."""

from collections.abc import Callable

import pytest

from consumers.materialization import Materialization
from consumers.rebuild import Rebuild
from consumers.rebuild_build import Options
from consumers.stores import Store
from penstock.errors import ProtectiveStop
from penstock.progress import Silent
from penstock.schema_ids import LockedIds
from tests.consumers.builders import read, views
from tests.consumers.test_real_broker import Bench, bench

__all__ = ["bench"]

pytestmark = pytest.mark.slow


def rebuild(bench: Bench, *, accept_trimmed: bool = False) -> Rebuild:
    return Rebuild(bench.settings, views()["orders"], LockedIds(), Options(accept_trimmed))


def keep(bench: Bench, store: Store, stage: Materialization, count: int) -> None:
    """Step until the live view holds ``count`` orders."""
    bench.step_until(lambda: read(store, "orders", "count(*)") == [(count,)], stage)


def test_a_view_is_rebuilt_beside_the_live_one_swapped_and_rolled_back(
    bench: Bench, connect: Callable[[], Store]
) -> None:
    store = connect()
    bench.send(0, 100)
    stage = bench.start()
    keep(bench, store, stage, 100)
    with rebuild(bench) as work:
        bench.send(100, 100)
        found = work.build(Silent())
        assert (found.equal, sum(found.offsets.values())) == (True, 100)
        keep(bench, store, stage, 200)
        bench.send(200, 100)
        work.swap(Silent())
    assert read(store, "orders_v1_r1", "count(*)") == [(200,)]
    keep(bench, store, stage, 300)
    bench.step_until(lambda: stage.live == {"orders": 10_001}, stage)
    assert read(store, "orders_v1", "count(*)")[0][0] <= 300

    bench.trim(1, 70)
    with rebuild(bench) as work, pytest.raises(ProtectiveStop, match=r"orders\[1\]: the log begins at offset 70"):
        work.build(Silent())
    with rebuild(bench, accept_trimmed=True) as work:
        found = work.build(Silent())
        assert (found.lost, found.tables[0].only_live, found.tables[0].only_new) == (70, 70, 0)
        work.drop()
    assert read(store, "orders", "count(*)") == [(300,)]


def test_a_rollback_to_what_the_log_can_no_longer_continue_is_refused(
    bench: Bench, connect: Callable[[], Store]
) -> None:
    store = connect()
    bench.send(0, 40)
    stage = bench.start()
    keep(bench, store, stage, 40)
    with rebuild(bench) as work:
        work.build(Silent())
        work.swap(Silent())
    bench.step_until(lambda: stage.live == {"orders": 10_001}, stage)
    bench.send(40, 40)
    keep(bench, store, stage, 80)
    bench.trim(2, 15)
    with rebuild(bench) as work, pytest.raises(ProtectiveStop, match="and offset 10 is needed: 5 offsets are lost"):
        work.roll_back()
    with rebuild(bench, accept_trimmed=True) as work:
        work.roll_back()
    assert read(store, "orders", "count(*)") == [(40,)]
