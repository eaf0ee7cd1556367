"""``python -m bench.idle``: what the embedded stack costs while nothing happens, by process.

These are the processes of ``penstock demo`` without its producers and its board: the embedded broker, two processors,
the views, the live page. CPU seconds are those of each process, from when all are ready and have been for a while.
"""

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from bench.bed import ROOT
from bench.live import LOOK_S
from bench.measured import Value
from bench.watch import Watched
from penstock.demo import plan
from penstock.demo.broker import create_topics, embedded_broker
from testbed.processes import LOOPBACK, free_port

SECONDS = 30
WARM_S = 10


def measure(seconds: int = SECONDS) -> list[Value]:
    """Return the CPU of all processes together and of each, as a share of a core."""
    with TemporaryDirectory(prefix="penstock-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        broker = _start(stack, "broker", ["-m", "bench.idle", "--broker"], folder, {})
        broker.wait_until(lambda: broker.logged("serving"), "the embedded broker serves")
        bootstrap = str(broker.logged("serving")["servers"])
        create_topics(bootstrap)
        processes = {"broker": broker}
        common = plan.environment(bootstrap, folder, SECONDS)
        for child in plan.stages([free_port() for _ in range(3)], free_port()):
            told = {**common, **child.environment, "PENSTOCK_HTTP_PORT": str(child.port)}
            stage = _start(stack, child.name, ["-m", "penstock", *child.arguments], folder, told)
            processes[child.name] = stage
            stage.wait_until(lambda port=child.port: _is_ready(port), f"{child.name} is ready")  # type: ignore[misc]
        time.sleep(WARM_S)
        begin = time.time()
        time.sleep(seconds)
        end = time.time()
        shares = {name: 100 * watched.cpu_between(begin, end) / (end - begin) for name, watched in processes.items()}
    return [
        Value("idle: the whole embedded stack", sum(shares.values()), "% of a core", f"over {seconds} s"),
        *(Value(f"idle: of it, {name}", share, "% of a core") for name, share in shares.items()),
    ]


def _start(stack: ExitStack, name: str, words: Sequence[str], folder: Path, settings: dict[str, str]) -> Watched:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PENSTOCK_")}
    environment = {**inherited, "PYTHONPATH": str(ROOT), **settings}
    return stack.enter_context(
        Watched(name, [sys.executable, *words], folder / f"{name}.log", environment, folder, LOOK_S)
    )


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{LOOPBACK}:{port}/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def _serve_broker() -> None:
    """Be the embedded broker, until SIGTERM."""
    with embedded_broker() as servers:
        print(json.dumps({"event": "serving", "servers": servers}), flush=True)
        threading.Event().wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=SECONDS, help=f"how long (default {SECONDS})")
    parser.add_argument("--broker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.broker:
        _serve_broker()
        return 0
    print("\n".join(map(str, measure(options.seconds))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
