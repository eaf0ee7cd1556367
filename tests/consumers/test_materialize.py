"""`penstock materialize` as people run it: processes on the embedded broker, killed and stopped."""

import re
import signal
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import ExitCode
from testbed.processes import free_port
from tests.consumers import builders
from tests.consumers.builders import NOON, Event, views
from tests.consumers.cluster import PATIENCE_S, Cluster, Views

COUNT = 400


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def running(tmp_path: Path, cluster: Cluster) -> Iterator[Views]:
    found = Views(tmp_path, cluster)
    yield found
    found.close()


def orders(count: int, begin: int = 0) -> list[Event]:
    return [builders.placed(f"o{n}", NOON, amount_e4=n) for n in range(begin, begin + count)]


def assert_exact(running: Views, count: int) -> None:
    assert running.query("SELECT count(*), sum(amount_e4) FROM orders") == [(count, count * (count - 1) // 2)]


def get(running: Views, path: str) -> str:
    address = re.search(r'"http": "(http://[^"]+)"', running.log())
    assert address is not None
    with urllib.request.urlopen(address[1] + path, timeout=10) as response:
        return str(response.read().decode())


@pytest.mark.parametrize("point", ["before", "after"])
def test_killed_around_its_database_commit_it_goes_on_exactly(cluster: Cluster, running: Views, point: str) -> None:
    cluster.send("orders", orders(COUNT))
    process = running.start("orders", PENSTOCK_FAILPOINTS=f"consumers.{point}-database-commit=kill@2")
    assert process.wait(PATIENCE_S) == -signal.SIGKILL
    assert 0 < running.merged("orders") < COUNT
    cluster.send("orders", [b"rubbish"])
    process = running.start("orders")
    running.await_merged({"orders": COUNT + 1})
    assert_exact(running, COUNT)
    metrics = get(running, "/metrics")
    assert f'penstock_business_orders{{status="placed"}} {COUNT}.0' in metrics
    assert 'penstock_view_skipped_records_total{reason="not-avro",view="orders"} 1.0' in metrics
    assert "penstock_end_to_end_latency_seconds_count" in metrics
    assert get(running, "/ready") == get(running, "/live") == '{"ok":true,"problems":{}}'
    assert running.end(process) == ExitCode.OK


def test_all_views_are_kept_by_one_process_and_both_results_topics_are_read(cluster: Cluster, running: Views) -> None:
    source = "run:orders"
    early = builders.order_metrics(NOON, 0, 5, False, "GB", 1)
    final = builders.order_metrics(NOON, 0, 9, True, "GB", 4)
    for topic, row in (("order-metrics-final.v1", final), ("order-metrics.v1", early)):
        cluster.send(topic, [(row[0], {**row[1], "source_topic_id": source})])
    cluster.send("telemetry", [builders.reading("d1", "CPU", NOON, 0.5)])
    cluster.send("dead-letters.v1", [builders.letter("DeadLetter", 3, reason="malformed", detail="x")])
    process = running.start()
    running.await_merged({"order_metrics": 2, "product_sales": 2, "pane_counts": 2, "devices": 1, "dead_letters": 1})
    assert running.query("SELECT orders, final FROM order_metrics") == [(4, 1)]
    assert running.query("SELECT device_id, value FROM devices") == [("d1", 0.5)]
    assert running.end(process) == ExitCode.OK
    assert {row[0] for row in running.query("SELECT view FROM view_versions")} == set(views())


def test_a_zombie_that_wakes_up_changes_nothing(cluster: Cluster, running: Views) -> None:
    cluster.send("orders", orders(COUNT))
    zombie = running.start("orders", PENSTOCK_FAILPOINTS="consumers.after-database-commit=stop@2")
    running.until(lambda: running.merged("orders") >= 200, "the zombie's second batch")
    heir = running.start("orders")
    running.await_merged({"orders": COUNT})
    cluster.send("orders", orders(COUNT, COUNT))
    running.await_merged({"orders": 2 * COUNT})
    zombie.send_signal(signal.SIGCONT)
    cluster.send("orders", orders(COUNT, 2 * COUNT))
    running.await_merged({"orders": 3 * COUNT})
    assert_exact(running, 3 * COUNT)
    assert running.end(zombie) == running.end(heir) == ExitCode.OK
    assert_exact(running, 3 * COUNT)


def test_lost_or_exchanged_input_stops_it_with_exit_code_4(cluster: Cluster, running: Views) -> None:
    cluster.send("orders", orders(40))
    process = running.start("orders")
    running.await_merged({"orders": 40})
    assert running.end(process) == ExitCode.OK
    assert running.start("orders", PENSTOCK_RUN_ID="another").wait(PATIENCE_S) == ExitCode.STOPPED
    assert "view orders, orders[0]: the topic was recreated: its id is another:orders" in running.log()
    _edit(running, "UPDATE offsets SET next = 11 WHERE partition = 2")
    assert running.start("orders").wait(PATIENCE_S) == ExitCode.STOPPED
    assert "view orders, orders[2]: the view holds records up to offset 11, the log ends at 10" in running.log()
    assert running.merged("orders") == 41


def test_a_log_that_was_trimmed_stops_it_until_that_is_accepted(cluster: Cluster, running: Views) -> None:
    # The embedded broker keeps about 5 MB a partition.
    cluster.send("orders", [b"x" * 500_000] * 20, partition=1)
    cluster.send("orders", orders(4))
    assert running.start("orders").wait(PATIENCE_S) == ExitCode.STOPPED
    said = re.search(r"view orders, orders\[1\]: the log begins at offset (\d+), the view needs 0", running.log())
    assert said is not None
    assert "PENSTOCK_ACCEPT_TRIMMED_LOG=true" in running.log()
    process = running.start("orders", PENSTOCK_ACCEPT_TRIMMED_LOG="true")
    running.await_merged({"orders": 24})
    assert_exact(running, 4)
    assert "records are lost, and accepted as such" in running.log()
    assert running.end(process) == ExitCode.OK
    process = running.start("orders")
    cluster.send("orders", orders(4, 4))
    running.await_merged({"orders": 28})
    assert_exact(running, 8)


def test_a_locked_database_is_waited_for_with_a_clear_line(cluster: Cluster, running: Views) -> None:
    cluster.send("orders", orders(40))
    process = running.start("orders")
    running.await_merged({"orders": 40})
    other = sqlite3.connect(running.folder / "views.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    cluster.send("orders", orders(40, 40))
    running.until(lambda: "is locked by another program" in running.log(), "the line")
    with pytest.raises(urllib.error.HTTPError, match="503"):
        get(running, "/ready")
    assert '"ok":true' in get(running, "/live")
    other.execute("ROLLBACK")
    other.close()
    running.await_merged({"orders": 80})
    assert_exact(running, 80)
    assert '"ok":true' in get(running, "/ready")
    assert running.end(process) == ExitCode.OK


def test_it_stops_in_order_while_it_waits_for_a_broker(running: Views) -> None:
    process = running.start("orders", KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    running.until(lambda: "waiting for broker" in running.log(), "the line")
    assert '"ok":true' in get(running, "/live")
    assert running.end(process) == ExitCode.OK
    assert "stopped while waiting" in running.log()


@pytest.mark.parametrize(
    ("view", "environment", "says"),
    [
        ("ordres", {}, "there is no view 'ordres'; the views are dead_letters"),
        ("orders", {"DATABASE_URL": "mysql://somewhere"}, "DATABASE_URL: its value is wrong: must be sqlite:///FILE"),
        ("orders", {"DATABASE_URL": "sqlite:////no/such/folder/x.db"}, "x.db can't be opened"),
        ("orders", {"PENSTOCK_FAILPOINTS": "nowhere=kill"}, "PENSTOCK_FAILPOINTS"),
    ],
)
def test_a_wrong_argument_gives_one_clear_line(
    running: Views, view: str, environment: dict[str, str], says: str
) -> None:
    assert running.start(view, **environment).wait(PATIENCE_S) == ExitCode.USAGE
    assert says in running.log()
    assert "Traceback" not in running.log()


def _edit(running: Views, sql: str) -> None:
    connection = sqlite3.connect(running.folder / "views.db")
    connection.execute(sql)
    connection.commit()
    connection.close()
