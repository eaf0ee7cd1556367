"""``penstock serve`` as it is typed, where it can't listen."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from penstock.errors import ExitCode
from testbed.processes import LOOPBACK


def test_a_port_that_is_taken_ends_it_with_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "penstock", "serve", "--port", str(port)],
            env=os.environ | {"DATABASE_URL": f"sqlite:///{tmp_path}/views.db", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == ExitCode.USAGE
    (line,) = (line for line in done.stderr.splitlines() if "can't listen" in line)
    assert f"PENSTOCK_SERVE_PORT: can't listen on {LOOPBACK}:{port} (Address already in use)" in line
    assert "choose another, or 0 for a free one" in line
    assert "Traceback" not in done.stdout + done.stderr
