"""`penstock demo`: all of it on embedded parts, as a newcomer runs it, and with stages killed on the way."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from testbed.pipeline import REPOSITORY
from testbed.processes import ChildProcess, wait_until

pytestmark = pytest.mark.slow

SECONDS = 15
LIMIT_S = 240.0


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[ChildProcess]:
    """The demo, running; its log is what it prints."""
    machine = {name: value for name, value in os.environ.items() if not name.startswith(("KAFKA_", "PENSTOCK_"))}
    command = [sys.executable, "-m", "penstock", "demo", "--seconds", str(SECONDS), "--folder", "runs", "--seed", "7"]
    environment = {**machine, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}
    child = ChildProcess("demo", command, tmp_path / "demo.log", env=environment, cwd=tmp_path)
    print(f"logs and database: {tmp_path}")  # noqa: T201  # pytest shows it for a test that fails
    child.start()
    yield child
    child.stop()


def output(demo: ChildProcess) -> str:
    return demo.log.read_text(encoding="utf-8", errors="replace")


def until_ended(demo: ChildProcess) -> str:
    """Wait for its end and return what it printed; fails unless it is proved."""
    wait_until(lambda: not demo.running, LIMIT_S, "the demo ends", log=demo.log)
    said = output(demo)
    assert demo.returncode == 0, said[-4_000:]
    assert "PROVED" in said
    assert "NOT PROVED" not in said
    assert "Traceback" not in said
    return said


def stages(demo: ChildProcess, command: str) -> list[psutil.Process]:
    """Return the processes of the demo that run `penstock COMMAND`."""
    children = psutil.Process(demo.pid).children(recursive=True)
    return [child for child in children if child.cmdline()[-2:] == ["penstock", command]]


def count(folder: Path, query: str) -> int:
    """Return a number from the demo's views; 0 while they are not there."""
    for file in folder.glob("runs/*/views.db"):
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10.0)) as connection:
            try:
                return int(connection.execute(query).fetchone()[0])
            except sqlite3.OperationalError:
                return 0
    return 0


def sent(folder: Path, fate: str) -> int:
    """How many records of this fate the producers say that they sent."""
    truths = [json.loads(file.read_text()) for file in folder.glob("runs/*/truth-*.json")]
    return sum(topic["fates"][fate] for truth in truths for topic in truth["topics"].values())


def test_the_demo_ends_with_0_and_says_proved(demo: ChildProcess, tmp_path: Path) -> None:
    until_ended(demo)
    assert count(tmp_path, "SELECT count(*) FROM orders") > 100
    assert count(tmp_path, "SELECT count(*) FROM late_events") == sent(tmp_path, "late") > 0
    assert count(tmp_path, "SELECT count(*) FROM dead_letters") == sent(tmp_path, "dead")
    assert count(tmp_path, "SELECT count(*) FROM order_metrics WHERE NOT final") == 0


def test_other_commands_look_into_the_running_demo_by_the_settings_that_it_writes(
    demo: ChildProcess, tmp_path: Path
) -> None:
    demo.wait_until(lambda: count(tmp_path, "SELECT count(*) FROM orders") > 50, 60.0, "there is something to see")
    (settings,) = tmp_path.glob("runs/*/settings.sh")
    looks = 'source "$0"; exec "$1" -m penstock books --json'
    done = subprocess.run(
        ["bash", "-c", looks, settings, sys.executable], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["balanced"]
    assert "settings.sh" in output(demo)


def test_the_demo_is_proved_though_a_processor_and_the_views_were_killed(
    demo: ChildProcess, tmp_path: Path
) -> None:
    def killed(command: str, after: Callable[[], bool]) -> None:
        demo.wait_until(after, 60.0, f"it is time to kill {command}")
        stages(demo, command)[0].send_signal(signal.SIGKILL)
        demo.wait_until(lambda: "-9; started again" in output(demo), 30.0, f"{command} is started again")

    orders = "SELECT count(*) FROM orders"
    killed("process", lambda: count(tmp_path, orders) > 50)
    seen = count(tmp_path, orders)
    killed("materialize", lambda: count(tmp_path, orders) > seen + 50)
    said = until_ended(demo)
    assert said.count("-9; started again") == 2
