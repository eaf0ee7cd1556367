"""Rebuilding a view beside the live one, on the embedded broker and both databases; the test steps all of it itself."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import StringIO
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from prometheus_client import CollectorRegistry
from rich.console import Console

from consumers.builds import builds, live_version
from consumers.figures import Figures
from consumers.materialization import Materialization, decoders_of
from consumers.meters import Meters
from consumers.reader import Reader
from consumers.rebuild import Comparison, Rebuild
from consumers.rebuild_build import Options
from consumers.rebuild_report import print_comparison, to_json
from consumers.stores import Store, open_store
from consumers.view_files import View
from penstock.errors import PenstockError, ProtectiveStop, UsageError
from penstock.health import Health
from penstock.progress import Silent
from penstock.schema_ids import LockedIds
from penstock.settings import Settings, load_settings
from penstock.topics import BY_NAME, group_id
from testbed.postgres import Postgres
from tests.consumers import builders
from tests.consumers.builders import NOON, read, views
from tests.consumers.cluster import PATIENCE_S, Cluster

ORDERS = BY_NAME["orders"]


def other_sql() -> View:
    """The view of orders by another rule, that shows: countries in small letters; and with a column more to see."""
    view = views()["orders"]
    rule = view.merges["OrderPlaced"]
    changed = rule.sql.replace("country, currency, amount_e4\nFROM", "lower(country), currency, amount_e4\nFROM")
    reads = {name: f"SELECT 'rebuilt' AS made, {sql[sql.index('order_id') :]}" for name, sql in view.reads.items()}
    return replace(view, merges={**view.merges, rule.record: replace(rule, sql=changed)}, reads=reads)


class Alone(Reader):
    """Is assigned all of the topic without a group: joining one takes seconds."""

    def subscribe(self) -> None:
        self.assigned = frozenset(("orders", partition) for partition in range(4))
        self.moved = True


class Bench:
    """A broker of its own, one database, and the stage as often as a test wants it."""

    def __init__(self, settings: Settings, connect: Callable[[], Store]) -> None:
        self.cluster = Cluster()
        self.settings = settings.model_copy(update={"kafka_bootstrap_servers": self.cluster.address})
        self.connect = connect
        self.store = connect()
        self.sent = 0
        self._readers: list[Reader] = []

    def send(self, count: int, country: str = "GB") -> None:
        orders = [builders.placed(f"o{self.sent + n:04}", NOON, country=country) for n in range(count)]
        self.cluster.send("orders", orders)
        self.sent += count

    def start(self, view: View | None = None) -> Materialization:
        chosen = (view or views()["orders"],)
        health = Health()
        reader = Alone(self.settings, [ORDERS], group_id(self.settings, "consumers"), health)
        self._readers.append(reader)
        stage = Materialization(
            self.settings, chosen, self.connect(), reader, decoders=decoders_of(self.settings, chosen, LockedIds()),
            meters=Meters(CollectorRegistry(), chosen), health=health, stopping=threading.Event(),
        )  # fmt: skip
        stage.begin(swap=False)
        return stage

    def keep(self, *stages: Materialization, until: Callable[[], bool] | None = None) -> None:
        """Step until the live view holds all that was sent, or ``until``."""
        for _ in range(int(PATIENCE_S / 0.1)):
            if (until or (lambda: self.count() == self.sent))():
                return
            for stage in stages:
                stage.step()
        raise AssertionError(f"{self.count()} of {self.sent} merged")

    def count(self) -> int:
        return int(read(self.store, "orders", "count(*)")[0][0])

    def live(self) -> int:
        with self.store.snapshot() as transaction:
            return live_version(transaction, "orders", 1)

    def states(self) -> dict[int, str]:
        with self.store.snapshot() as transaction:
            return {version: build.state for version, build in builds(transaction, "orders", 1).items()}

    def countries(self, relation: str = "orders") -> list[str]:
        return sorted({row[0] for row in read(self.store, relation, "country")})

    @contextmanager
    def rebuild(self, view: View | None = None, **options: Any) -> Iterator[Rebuild]:
        with Rebuild(self.settings, view or views()["orders"], LockedIds(), Options(**options)) as work:
            yield work

    def swap(self, view: View | None = None) -> Comparison:
        with self.rebuild(view) as work:
            found = work.build(Silent())
            work.swap(Silent())
        return found

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


@pytest.fixture
def bench(settings: Settings, connect: Callable[[], Store]) -> Iterator[Bench]:
    update = {"commit_interval_s": 0.05, "view_batch_records": 100, "session_timeout_ms": 4000, "run_id": "run"}
    found = Bench(settings.model_copy(update=update), connect)
    yield found
    found.close()


def test_the_same_sql_gives_the_same_rows_and_the_stage_goes_on_with_the_new_tables(bench: Bench) -> None:
    bench.send(250)
    stage = bench.start()
    bench.keep(stage)
    with bench.rebuild() as work:
        found = work.build(Silent())
        assert (found.equal, found.other_rules, found.lost) == (True, False, 0)
        assert [(t.table, t.live_rows, t.new_rows) for t in found.tables] == [("orders", 250, 250)]
        bench.send(60)
        bench.keep(stage)
        assert work.swap(Silent()) == []
    assert bench.live() == 10_001
    bench.send(60)
    bench.keep(stage)
    assert stage.live == {"orders": 10_001}
    assert read(bench.store, "orders_v1_r1", "count(*)") == [(370,)]
    assert read(bench.store, "orders_v1", "count(*)")[0][0] <= 370
    registry = CollectorRegistry()
    registry.register(Figures(bench.connect(), [views()["orders"]], 1, live=stage.live))
    assert registry.get_sample_value("penstock_business_orders", {"status": "placed"}) == 370


def test_other_sql_is_compared_at_the_same_offsets_while_the_live_view_goes_on(bench: Bench) -> None:
    bench.send(200)
    stage = bench.start()
    bench.keep(stage)
    with bench.rebuild(other_sql(), limit=3) as work:
        found = work.build(Silent())
    (table,) = found.tables
    assert (table.changed, table.only_live, table.only_new, dict(table.by_column)) == (200, 0, 0, {"country": 200})
    assert [(e.key, e.cells) for e in table.examples] == [((f"o{n:04}",), (("country", "GB", "gb"),)) for n in range(3)]
    assert sum(found.offsets.values()) == 200
    assert bench.states() == {1: "live", 10_001: "building"}
    assert bench.countries() == ["GB"]
    out = StringIO()
    print_comparison(found, Console(file=out, width=120))
    assert "orders: v1_r1, by other SQL than v1, both at orders/0 50, orders/1 50" in out.getvalue()
    assert "and 197 more rows\nDIFFERS" in out.getvalue()
    assert json.loads(to_json(found, swapped=False))["tables"][0]["changed_by_column"] == {"country": 200}


def test_after_a_swap_to_other_sql_the_stage_of_before_stops_and_the_new_one_goes_on(bench: Bench) -> None:
    bench.send(100)
    old = bench.start()
    bench.keep(old)
    bench.swap(other_sql())
    assert (bench.countries(), read(bench.store, "orders", "made")[0]) == (["gb"], ("rebuilt",))
    bench.send(40)
    with pytest.raises(ProtectiveStop, match="view orders was rebuilt, or rolled back, to other SQL"):
        bench.keep(old)
    assert bench.countries("orders_v1_r1") == ["gb"]
    with pytest.raises(ProtectiveStop, match="penstock rebuild orders"):
        bench.start()
    bench.close()
    bench.keep(bench.start(other_sql()))
    assert bench.countries("orders_v1_r1") == ["gb"]
    assert bench.countries("orders_v1") == ["GB"]


def test_a_rollback_brings_rows_offsets_and_relations_back_and_the_old_one_catches_up(bench: Bench) -> None:
    bench.send(100)
    old = bench.start()
    bench.keep(old)
    bench.swap(other_sql())
    bench.close()
    new = bench.start(other_sql())
    bench.send(40)
    bench.keep(new)
    with bench.rebuild(other_sql()) as work:
        live, left = work.roll_back()
    assert (live.version, left.version, bench.states()) == (1, 10_001, {1: "live", 10_001: "old"})
    assert bench.countries() == ["GB"]
    with pytest.raises(PenstockError):
        read(bench.store, "orders", "made")
    with pytest.raises(ProtectiveStop, match="to other SQL"):
        bench.keep(new)
    bench.close()
    bench.keep(bench.start())
    assert (bench.count(), bench.countries()) == (140, ["GB"])
    with bench.rebuild() as work:
        work.roll_back()
    assert read(bench.store, "orders", "made")[0] == ("rebuilt",)


def test_one_old_build_is_kept_and_numbers_are_never_used_twice(bench: Bench) -> None:
    bench.send(20)
    bench.keep(bench.start())
    for _ in range(2):
        bench.swap()
    assert bench.states() == {10_001: "old", 20_001: "live"}
    with pytest.raises(PenstockError):
        read(bench.store, "orders_v1")
    with bench.rebuild() as work:
        assert work.drop() == ["v1_r1"]
    with bench.rebuild() as work, pytest.raises(UsageError, match="no old build"):
        work.roll_back()
    bench.swap()
    assert bench.states() == {20_001: "old", 30_001: "live"}
    assert {row[0] for row in read(bench.store, "offsets", "version")} == {20_001, 30_001}


def test_a_wrong_row_is_named_and_gone_after_the_swap(bench: Bench) -> None:
    bench.send(30)
    stage = bench.start()
    bench.keep(stage)
    with bench.store.transaction() as transaction:
        transaction.execute("UPDATE orders_v1 SET amount_e4 = 7 WHERE order_id = 'o0003'")
        transaction.execute("DELETE FROM orders_v1 WHERE order_id = 'o0004'")
        transaction.execute("INSERT INTO orders_v1 (order_id) VALUES ('o9')")
    found = bench.swap()
    (table,) = found.tables
    assert [(e.kind, e.key) for e in sorted(table.examples, key=lambda e: e.key)] == [
        ("changed", ("o0003",)), ("only new", ("o0004",)), ("only live", ("o9",))
    ]  # fmt: skip
    assert bench.count() == 30


def test_a_trimmed_log_is_refused_until_that_is_accepted(bench: Bench) -> None:
    # The embedded broker keeps about 5 MB a partition.
    bench.send(40)
    bench.keep(bench.start())
    bench.cluster.send("orders", [b"x" * 500_000] * 20, partition=1)
    with bench.rebuild() as work, pytest.raises(ProtectiveStop, match=r"orders\[1\]: the log begins at offset"):
        work.build(Silent())
    assert bench.states() == {1: "live", 10_001: "building"}
    with bench.rebuild(accept_trimmed=True) as work:
        found = work.build(Silent())
    assert found.lost >= 10
    assert [(t.only_live, t.only_new, t.changed) for t in found.tables] == [(10, 0, 0)]


def test_what_was_begun_is_continued_and_begun_anew_by_other_sql(bench: Bench) -> None:
    bench.send(100)
    stage = bench.start()
    bench.keep(stage)
    with bench.rebuild() as work:
        work.build(Silent())
    bench.send(20)
    bench.keep(stage)
    with bench.rebuild() as work:
        found = work.build(Silent())
        assert (found.new.version, found.tables[0].new_rows) == (10_001, 120)
    with bench.rebuild(other_sql()) as work:
        assert work.build(Silent()).new.version == 20_001
    assert bench.states() == {1: "live", 20_001: "building"}


def test_of_two_rebuilds_one_swaps_and_the_other_changes_nothing(bench: Bench) -> None:
    bench.send(40)
    bench.keep(bench.start())
    with bench.rebuild() as first, bench.rebuild() as second:
        first.build(Silent())
        second.build(Silent())
        first.swap(Silent())
        with pytest.raises(PenstockError, match="somebody else has swapped"):
            second.swap(Silent())
    assert bench.states() == {1: "old", 10_001: "live"}


def test_a_view_that_nobody_keeps_is_a_usage_error(bench: Bench) -> None:
    bench.send(1)
    with bench.rebuild() as work, pytest.raises(UsageError, match="`penstock materialize` builds it"):
        work.build(Silent())


def test_a_database_from_before_there_were_builds_is_rebuilt(bench: Bench) -> None:
    bench.send(40)
    bench.keep(bench.start())
    bench.close()
    with bench.store.transaction() as transaction:
        transaction.execute("DROP TABLE view_builds")
    assert bench.swap().equal
    assert bench.states() == {1: "old", 10_001: "live"}


@pytest.mark.real
def test_the_role_that_owns_the_views_may_rebuild_and_the_reader_sees_what_is_swapped_in(postgres: Postgres) -> None:
    url = postgres.create_database("rebuild_roles")
    with psycopg.connect(url, autocommit=True) as database:
        for statement in (
            "CREATE ROLE rebuild_views LOGIN",
            "CREATE ROLE rebuild_reader LOGIN",
            "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            "GRANT USAGE, CREATE ON SCHEMA public TO rebuild_views",
            "GRANT USAGE ON SCHEMA public TO rebuild_reader",
            "ALTER DEFAULT PRIVILEGES FOR ROLE rebuild_views IN SCHEMA public GRANT SELECT ON TABLES TO rebuild_reader",
        ):
            database.execute(statement)
    parts = urlsplit(url)
    address = parts.netloc.rpartition("@")[2]
    settings = load_settings(database_url=urlunsplit(parts._replace(netloc=f"rebuild_views@{address}")), embedded=True)
    stores: list[Store] = []

    def connect() -> Store:
        stores.append(open_store(settings))
        return stores[-1]

    bench = Bench(settings.model_copy(update={"run_id": "run"}), connect)
    bench.send(40)
    bench.keep(bench.start())
    bench.swap()
    bench.swap()
    bench.close()
    with psycopg.connect(urlunsplit(parts._replace(netloc=f"rebuild_reader@{address}"))) as reader:
        assert reader.execute("SELECT count(*) FROM orders").fetchone() == (40,)
        assert reader.execute("SELECT count(*) FROM orders_v1_r2").fetchone() == (40,)
    for store in stores:
        store.close()
