"""`penstock rebuild` as a process, killed where it hurts, beside a running `penstock materialize`."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.errors import ExitCode
from tests.consumers import builders
from tests.consumers.builders import NOON, Event
from tests.consumers.cluster import PATIENCE_S, ROOT, Cluster, Views

SIGKILLED = -9
COUNT = 400


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Cluster, Views]]:
    cluster = Cluster()
    views = Views(tmp_path, cluster)
    yield cluster, views
    views.close()


def orders(begin: int, count: int) -> list[Event]:
    return [builders.placed(f"o{number}", NOON, amount_e4=number) for number in range(begin, begin + count)]


def rebuild(views: Views, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", "from penstock.cli import main; main()", "rebuild", *arguments],
        env={**os.environ, **views.environment, **environment}, cwd=ROOT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=2 * PATIENCE_S, check=False,
    )  # fmt: skip


def await_exact(views: Views, count: int) -> None:
    """Wait until the live view holds each of ``count`` orders once, as it was placed."""
    rows = [(count, count * (count - 1) // 2)]
    views.until(lambda: views.query("SELECT count(*), sum(amount_e4) FROM orders") == rows, f"{count} orders")


def live(views: Views) -> list[tuple[int]]:
    return views.query("SELECT version FROM view_builds WHERE state = 'live'")


@pytest.mark.slow
def test_it_may_be_killed_anywhere_and_the_next_run_goes_on(running: tuple[Cluster, Views]) -> None:
    cluster, views = running
    cluster.send("orders", orders(0, COUNT))
    stage = views.start("orders")
    await_exact(views, COUNT)
    sent = COUNT
    for point, after in (
        ("consumers.before-database-commit=kill@2", 1),
        ("consumers.after-database-commit=kill@2", 1),
        ("rebuild.before-swap-commit=kill", 1),
        ("rebuild.after-swap-commit=kill", 10_001),
    ):
        ended = rebuild(views, "orders", "--yes", PENSTOCK_FAILPOINTS=point)
        assert ended.returncode == SIGKILLED, ended.stdout + ended.stderr
        assert live(views) == [(after,)]
        cluster.send("orders", orders(sent, 40))
        sent += 40
        await_exact(views, sent)
    assert (
        rebuild(views, "orders", "--rollback", PENSTOCK_FAILPOINTS="rebuild.before-swap-commit=kill").returncode
        == SIGKILLED
    )
    assert live(views) == [(10_001,)]
    ended = rebuild(views, "orders", "--rollback")
    assert (ended.returncode, ended.stdout.startswith("ROLLED BACK: orders is v1 again")) == (ExitCode.OK, True)
    await_exact(views, sent)
    ended = rebuild(views, "orders", "--yes")
    assert (ended.returncode, "EQUAL" in ended.stdout) == (ExitCode.OK, True), ended.stdout + ended.stderr
    assert (
        "SWAPPED: orders is v1_r2 now; v1 is kept: `penstock rebuild orders --rollback`.\nDropped: v1_r1."
        in ended.stdout
    )
    cluster.send("orders", orders(sent, 40))
    await_exact(views, sent + 40)
    assert views.query("SELECT count(*) FROM orders_v1_r2") == [(sent + 40,)]
    assert views.query("SELECT version FROM offsets GROUP BY version ORDER BY 1") == [(1,), (20_001,)]
    assert views.end(stage) == ExitCode.OK


def test_a_dry_run_says_by_its_exit_code_if_it_differs_and_nobody_is_asked_without_a_terminal(
    running: tuple[Cluster, Views],
) -> None:
    cluster, views = running
    ended = rebuild(views, "orders", "--dry-run")
    assert (ended.returncode, "there is no view database" in ended.stderr) == (ExitCode.USAGE, True)
    cluster.send("orders", orders(0, 40))
    stage = views.start("orders")
    await_exact(views, 40)
    assert views.end(stage) == ExitCode.OK
    asked = rebuild(views, "orders")
    assert (asked.returncode, "say --yes or --dry-run" in asked.stderr) == (ExitCode.USAGE, True)
    equal = rebuild(views, "orders", "--dry-run")
    assert (equal.returncode, "EQUAL" in equal.stdout) == (ExitCode.OK, True), equal.stdout + equal.stderr
    assert rebuild(views, "ordres", "--dry-run").returncode == ExitCode.USAGE
    assert "Dropped of orders: v1_r1." in rebuild(views, "orders", "--drop").stdout
    assert live(views) == [(1,)]
