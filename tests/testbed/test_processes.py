"""Child processes, ports and waiting: no real part is needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from testbed.processes import ChildProcess, PartError, free_port, is_listening, wait_until

SLEEPER = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"]
# A process with a child, which both ignore SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if len(sys.argv) == 1:
    subprocess.Popen([sys.executable, __file__, "child"])
else:
    print("both up", flush=True)
time.sleep(600)
"""
PARENT = """
import os, sys
from pathlib import Path
from testbed.processes import ChildProcess
child = ChildProcess("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"], Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_wait_until_returns_the_first_true_answer() -> None:
    answers = iter([0, 0, 7])
    assert wait_until(lambda: next(answers), 5, "a number", every=0.001) == 7


def test_wait_until_tells_what_was_awaited_and_how_the_log_ends(tmp_path: Path) -> None:
    log = tmp_path / "part.log"
    log.write_text("first\nlast words\n", encoding="utf-8")
    with pytest.raises(TimeoutError, match=r"a miracle: not within 0\.01 s") as raised:
        wait_until(lambda: False, 0.01, "a miracle", log=log, every=0.001)
    assert "last words" in str(raised.value)
    assert str(log) in str(raised.value)


def test_a_child_that_ends_early_is_reported_at_once_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; print('no disk'); sys.exit(3)"]
    child = ChildProcess("broken", command, tmp_path / "log")
    child.start()
    with pytest.raises(PartError, match=r"(?s)broken ended with code 3 .*no disk"):
        child.wait_until(lambda: False, 30, "readiness")


def test_a_child_logs_and_stops(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", SLEEPER, tmp_path / "log")
    child.start()
    child.wait_until(lambda: "up" in child.log.read_text(encoding="utf-8"), 10, "its first word")
    child.stop()
    assert not child.running
    assert child.returncode == -signal.SIGTERM


def test_a_child_that_ignores_sigterm_is_killed_with_its_own_child(tmp_path: Path) -> None:
    script = tmp_path / "stubborn.py"
    script.write_text(STUBBORN, encoding="utf-8")
    child = ChildProcess("stubborn", [sys.executable, script], tmp_path / "log")
    child.start()
    child.wait_until(lambda: "both up" in child.log.read_text(encoding="utf-8"), 10, "both are up")
    grandchildren = psutil.Process(child.pid).children()
    assert len(grandchildren) == 1
    child.stop(timeout=0.1)
    assert child.returncode == -signal.SIGKILL
    assert ended(grandchildren[0].pid)


def test_a_paused_child_can_be_stopped(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", SLEEPER, tmp_path / "log")
    child.start()
    child.send(signal.SIGSTOP)
    child.stop()
    assert child.returncode == -signal.SIGTERM


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    child = ChildProcess("sleeper", SLEEPER, tmp_path / "log")
    thread = threading.Thread(target=child.start)
    thread.start()
    thread.join()
    child.wait_until(lambda: "up" in child.log.read_text(encoding="utf-8"), 10, "its first word")
    assert child.running
    child.kill()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="no setpriv: apt-get install util-linux")
@pytest.mark.parametrize("end", [signal.SIGKILL, None], ids=["killed", "ends"])
def test_a_child_ends_with_its_parent(end: signal.Signals | None, tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path / "log"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not ended(child)
        if end is None:
            parent.stdin.close()
        else:
            parent.send_signal(end)
        parent.wait(10)
    wait_until(lambda: ended(child), 10, "the end of the child")


def test_free_ports_differ_and_nobody_listens_there() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    assert not any(is_listening(port) for port in ports)


def ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
