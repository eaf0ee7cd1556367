"""`penstock verify --every`: the newest verdict is a metric, and a part that is away is waited for."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry

from penstock.errors import GaveUpWaiting, ProtectiveStop, UsageError
from penstock.health import Health
from penstock.schema_ids import LockedIds
from penstock.settings import Settings
from referee.report import Verdict
from referee.verify import verify
from referee.watch import VerdictGauges, look
from testbed.processes import free_port, wait_until
from tests.referee.damage import change


def never() -> Verdict:
    raise GaveUpWaiting("gave up after 60 s: the broker is away")


def stopped() -> Verdict:
    raise ProtectiveStop("a topic was recreated")


def test_before_the_first_verdict_there_is_none_and_a_part_that_is_away_makes_none() -> None:
    health, registry = Health(), CollectorRegistry()
    health.started()
    look(never, VerdictGauges(registry), health)
    assert registry.get_sample_value("penstock_verify_proved") is None
    assert "the broker is away" in health.ready()["verification"]


def test_a_promise_that_is_broken_ends_it() -> None:
    with pytest.raises(ProtectiveStop):
        look(stopped, VerdictGauges(CollectorRegistry()), Health())


def test_a_difference_is_shown_until_a_later_verdict_has_none(copied: tuple[Settings, Path]) -> None:
    (settings, path), registry, health = copied, CollectorRegistry(), Health()
    gauges, value = VerdictGauges(registry), registry.get_sample_value
    health.started()
    one = "WHERE order_id = (SELECT min(order_id) FROM orders_v1 WHERE amount_e4 IS NOT NULL)"
    change(path, f"UPDATE orders_v1 SET amount_e4 = amount_e4 + 1 {one}")
    look(lambda: verify(settings, LockedIds(), 60.0), gauges, health)
    assert value("penstock_verify_proved") == 0
    assert (value("penstock_verify_differences", {"view": "orders"}) or 0) > 0
    assert value("penstock_verify_differences", {"view": "order_metrics"}) == 0
    change(path, f"UPDATE orders_v1 SET amount_e4 = amount_e4 - 1 {one}")
    look(never, gauges, health)
    assert value("penstock_verify_proved") == 0
    look(lambda: verify(settings, LockedIds(), 60.0), gauges, health)
    assert value("penstock_verify_proved") == 1
    assert value("penstock_verify_differences", {"view": "orders"}) == 0
    assert health.ready() == {}


@pytest.fixture
def watching(world: Settings, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The command on a pipeline's outcome, and its address."""
    port = free_port()
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": world.kafka_bootstrap_servers,
        "DATABASE_URL": world.database_url.get_secret_value(),
        "PENSTOCK_EMBEDDED": "true",
        "PENSTOCK_HTTP_PORT": str(port),
        "TMPDIR": str(tmp_path),
    }
    command = [sys.executable, "-m", "penstock", "verify", "--every", "1s"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process, f"http://127.0.0.1:{port}/metrics"
    finally:
        process.kill()
        process.wait()


def metrics(address: str) -> str:
    try:
        return httpx.get(address, timeout=5, trust_env=False).text
    except httpx.TransportError:
        return ""


def test_the_command_serves_its_verdict_and_ends_by_sigterm_and_leaves_nothing(
    watching: tuple[subprocess.Popen[bytes], str], tmp_path: Path
) -> None:
    process, address = watching
    wait_until(lambda: "penstock_verify_proved 1.0" in metrics(address), 60, "it is proved")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_pause_that_is_too_short_is_refused() -> None:
    from penstock.commands.verify import verify as command

    with pytest.raises(UsageError, match="--every"):
        command(every="10ms")
