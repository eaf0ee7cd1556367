"""Processors as processes on the embedded broker."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer

from testbed.processes import wait_until
from tests.end_to_end.processors_rig import PATIENCE_S, Rig, run_until


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    owner = Producer({"bootstrap.servers": "x", "test.mock.num.brokers": 1})
    brokers = owner.list_topics(timeout=10).brokers.values()
    yield ",".join(f"{one.host}:{one.port}" for one in brokers)
    del owner


@pytest.fixture
def rig(broker: str, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(broker, tmp_path)
    yield made
    made.close()


def test_a_load_with_every_kind_of_fault_becomes_exact_results_and_sigterm_commits_the_last_of_it(rig: Rig) -> None:
    rig.load(100)
    processor = rig.start()
    processor.wait_until(lambda: processor.status("live") == 200, PATIENCE_S, "it answers")
    processor.wait_until(lambda: processor.status("ready") == 200, PATIENCE_S, "it is ready")
    processor.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    rig.check()
    assert processor.sum_of("penstock_books_imbalance_events") == 0
    assert processor.sum_of("penstock_books_events", topic="orders") == 400
    assert processor.sum_of("penstock_events_total", fate="dead") > 0
    assert processor.sum_of("penstock_lag_events") == 0

    rig.load(50)
    rig.close_panes()
    # 604 records of orders, 156 of telemetry.
    processor.wait_until(lambda: processor.sum_of("penstock_books_events") == 760, PATIENCE_S, "all is folded")
    processor.stop(signal.SIGTERM)
    assert processor.returncode == 0
    assert rig.settled()
    assert {offset for offset, _ in rig.frontiers().values()} == {p.position for _, p in rig.frontiers().values()}
    rig.check()


def test_a_sigterm_while_it_starts_ends_it_well_whenever_it_comes(rig: Rig) -> None:
    rig.load(10)
    for moment in ("processors.run.make_app", "faust.Worker.install_signal_handlers", "faust.Worker.autodiscover"):
        owner, _, name = moment.rpartition(".")
        terminated = (
            f"import os, signal, faust, processors.run; before = {moment}; "
            f"{owner}.{name} = lambda *a, **k: (os.kill(os.getpid(), signal.SIGTERM), before(*a, **k))[1]"
        )
        processor = rig.start(first=terminated)
        wait_until(lambda: not processor.running, PATIENCE_S, "it ends", log=processor.log)  # noqa: B023
        assert processor.returncode == 0, moment


@pytest.mark.slow
def test_killed_at_each_failpoint_a_restart_refolds_and_the_totals_are_exact(rig: Rig) -> None:
    for number, point in enumerate(("after-send", "after-flush", "after-commit")):
        processor = rig.start(f"processors.{point}=kill@2")
        run_until(lambda: not processor.running, lambda: rig.load(10), f"it dies at {point}")  # noqa: B023
        assert processor.returncode == -signal.SIGKILL
        if number > 0:
            assert processor.said("assigned")
    last = rig.start()
    last.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    assert last.sum_of("penstock_refolded_events") > 0
    rig.check()


@pytest.mark.slow
def test_a_main_loop_that_hangs_turns_liveness_red_and_readiness_not(rig: Rig) -> None:
    soon = "import penstock.health as health; health.STALLED_AFTER_S = 3.0"
    processor = rig.start("processors.after-flush=hang@3", first=soon)
    run_until(lambda: processor.status("live") == 503, lambda: rig.load(10), "liveness turns red")
    assert processor.running
    assert processor.problems("live")["hung"].startswith("the main loop has not run for ")
    assert processor.status("ready") == 200
    assert processor.sum_of("penstock_lag_events") >= 0


@pytest.mark.slow
def test_of_two_processes_one_is_killed_and_the_other_takes_over(rig: Rig) -> None:
    first, second = rig.start(), rig.start()
    for processor in (first, second):
        run_until(lambda: processor.status("ready") == 200, lambda: rig.load(10), "it is ready")  # noqa: B023
    wait_until(
        lambda: first.sum_of("penstock_open_panes") > 0 and second.sum_of("penstock_open_panes") > 0,
        PATIENCE_S,
        "both own partitions",
    )
    first.send(signal.SIGKILL)
    rig.load(30)
    second.wait_until(rig.settled, PATIENCE_S, "the load is settled")
    events = sum(len(told.entries) for (topic, _), told in rig.told().items() if topic == "orders")
    assert second.sum_of("penstock_books_events", topic="orders") == events
    rig.check()
