"""``python -m bench.sse_clients``: many readers of the live stream at once: who is lost, and what memory does.

Starts ``penstock serve`` as a process of its own on a SQLite database that changes several times a second, connects
the readers (and a few that never read), and prints what each second cost. Exits with 1 if a reader that
reads was lost, missed a frame, or memory grew.
"""

import argparse
import asyncio
import contextlib
import os
import resource
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil

from testbed.processes import LOOPBACK, ChildProcess, free_port

PATIENCE_S = 120.0
SETTLED_AFTER = 0.25
"""Share of the time after which memory may not grow any more."""

MAX_GROWTH_BYTES = 24 << 20


@dataclass
class Report:
    """What the readers saw. A gap is a frame whose number does not follow the one before."""

    wanted: int
    connected: int = 0
    lost: int = 0
    gaps: int = 0
    frames: int = 0
    bytes: int = 0
    most_per_second: int = 0
    first_frame_s: list[float] = field(default_factory=list)


class Reader:
    """One reader on a plain socket: it looks for frame borders and ids, and parses nothing else."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._number: int | None = None
        self._times: list[float] = []

    async def read(self, host: str, port: int, ending: asyncio.Event) -> None:
        """Read until ``ending``; an end before that is a loss."""
        began = time.monotonic()
        reader, writer = await asyncio.open_connection(host, port, limit=4 << 20)
        try:
            writer.write(b"GET /api/stream HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\r\n")
            while not ending.is_set():
                line = await reader.readline()
                if not line:
                    break
                self._report.bytes += len(line)
                if line.startswith(b"id: "):
                    if self._number is None:
                        self._report.connected += 1
                        self._report.first_frame_s.append(time.monotonic() - began)
                    self._frame(int(line.rsplit(b"-", 1)[1]))
        except ConnectionError:
            pass
        finally:
            writer.close()
        if not ending.is_set():
            self._report.lost += 1

    def _frame(self, number: int) -> None:
        if self._number is not None and number != self._number + 1:
            self._report.gaps += 1
        self._number = number
        self._report.frames += 1
        now = time.monotonic()
        self._times = [*(at for at in self._times if now - at < 1.0), now]
        self._report.most_per_second = max(self._report.most_per_second, len(self._times))


async def run_clients(address: str, clients: int, seconds: float, step: Callable[[int], None]) -> Report:
    """Connect ``clients`` readers for ``seconds``, while ``step(n)`` changes the database in a thread; report."""
    parts = urlsplit(address)
    report, ending, loop = Report(clients), asyncio.Event(), asyncio.get_running_loop()
    stopping = threading.Event()

    def change() -> None:
        number = 0
        while not stopping.is_set():
            step(number)
            number += 1
            stopping.wait(0.15)

    readers = [
        asyncio.create_task(Reader(report).read(str(parts.hostname), parts.port or 80, ending)) for _ in range(clients)
    ]
    deadline = time.monotonic() + PATIENCE_S
    while report.connected < clients and report.lost == 0 and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    changing = loop.run_in_executor(None, change)
    await asyncio.sleep(seconds)
    ending.set()
    done, late = await asyncio.wait(readers, timeout=10.0)
    for task in late:
        task.cancel()
    stopping.set()
    await changing
    for task in done:
        task.result()
    return report


class Views:
    """Views in a SQLite file, written straight into their tables: minutes of orders, and readings of devices."""

    DEVICES = 40
    START_MS = 1_795_219_200_000

    def __init__(self, folder: Path) -> None:
        from consumers.sqlite_store import SqliteStore
        from consumers.tables import prepare
        from consumers.view_files import load_views

        self.url = f"sqlite:///{folder}/views.db"
        self._store = SqliteStore.from_url(self.url)
        prepare(self._store, load_views().values(), 1)
        with self._store.transaction() as transaction:
            for view in ("order_metrics", "devices"):
                transaction.execute(f"INSERT INTO offsets VALUES ('{view}', 1, 'orders', 'bench', 0, 0)")
        for number in range(60):
            self.step(number, minute=number)

    def step(self, number: int, minute: int = 59) -> None:
        """Change what is shown: a minute of orders, and a reading of each device."""
        at = self.START_MS + minute * 60_000
        with self._store.transaction() as transaction:
            for country in range(10):
                transaction.execute(
                    "INSERT INTO order_metrics_v1 VALUES (:at, :country, 0, 0, :n, :n, :n, :n, :n, 0, 0) "
                    "ON CONFLICT DO UPDATE SET orders = :n, revenue_e4 = :n * 10000",
                    {"at": at, "country": f"country {country}", "n": number + 1},
                )
            for device in range(self.DEVICES):
                transaction.execute(
                    "INSERT INTO device_readings_v1 VALUES (:device, 'CPU', :at, 'e', :n, 'percent') "
                    "ON CONFLICT DO UPDATE SET reading_at = :at, value_e6 = :n",
                    {"device": f"device {device}", "at": at + number, "n": number * 1_000},
                )
            transaction.execute("UPDATE offsets SET next = next + 1")


@contextlib.contextmanager
def served(folder: Path, url: str) -> Iterator[tuple[str, psutil.Process]]:
    """Run ``penstock serve``, with its log in ``folder``; yield its address and its process."""
    port = free_port()
    environment = {**os.environ, "DATABASE_URL": url, "PENSTOCK_SERVE_PORT": str(port), "LOG_LEVEL": "WARNING"}
    child = ChildProcess("serve", [sys.executable, "-m", "penstock", "serve"], folder / "serve.log", env=environment)
    address = f"http://{LOOPBACK}:{port}"

    def ready() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{address}/ready").status_code == 200
        return False

    child.start()
    try:
        child.wait_until(ready, PATIENCE_S, "penstock serve is ready")
        yield address, psutil.Process(child.pid)
    finally:
        child.stop(timeout=30.0)


def slow_reader(address: str) -> socket.socket:
    """Ask for the stream, and never read it."""
    parts = urlsplit(address)
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    slow.connect((parts.hostname, parts.port))
    slow.sendall(b"GET /api/stream HTTP/1.1\r\nhost: slow\r\n\r\n")
    return slow


def metric(address: str, name: str) -> float:
    """Return a number of the server's ``/metrics``."""
    lines = httpx.get(f"{address}/metrics", timeout=30.0).text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))


def cut_by_and_by(address: str, slow: int, views: Views) -> float:
    """Return how many readers were cut, once all ``slow`` ones are: how soon follows from how much there is to say."""
    deadline, number = time.monotonic() + PATIENCE_S, 0
    while (dropped := metric(address, "penstock_stream_dropped_clients_total")) < slow:
        if time.monotonic() > deadline:
            break
        views.step(1_000_000 + number)
        number += 1
        time.sleep(0.1)
    return dropped


class Watch:
    """Memory and CPU of the server, once a second."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.samples: list[tuple[float, int, float]] = []
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(1.0):
            times = self._process.cpu_times()
            self.samples.append((time.monotonic(), self._process.memory_info().rss, times.user + times.system))


def main() -> int:
    """Run it, print what was seen, and return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--clients", type=int, default=1_000)
    parser.add_argument("--slow", type=int, default=5, help="readers on top that never read")
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < asked.clients + 200:
        raise SystemExit(f"{asked.clients} readers need more open files than ulimit -Hn allows ({hard})")
    with tempfile.TemporaryDirectory() as folder:
        views = Views(Path(folder))
        with served(Path(folder), views.url) as (address, process):
            alone = process.memory_info().rss
            slow = [slow_reader(address) for _ in range(asked.slow)]
            with Watch(process) as watch:
                report = asyncio.run(run_clients(address, asked.clients, asked.seconds, views.step))
            dropped = cut_by_and_by(address, asked.slow, views)
            for one in slow:
                one.close()
    return tell(report, watch.samples, asked.seconds, (alone, asked.slow, dropped))


def tell(
    report: Report, samples: list[tuple[float, int, float]], seconds: float, slow: tuple[int, int, float]
) -> int:
    """Print the figures; return 1 if a promise is broken."""
    alone, slow_count, dropped = slow
    running = [sample for sample in samples if sample[0] >= samples[-1][0] - seconds]
    settled = running[int(len(running) * SETTLED_AFTER)][1]
    peak, growth = max(rss for _, rss, _ in running), running[-1][1] - settled
    cpu = (running[-1][2] - running[0][2]) / max(running[-1][0] - running[0][0], 1e-9)
    first = sorted(report.first_frame_s) or [0.0]
    lines = (
        f"readers            {report.connected:,} of {report.wanted:,} came, {report.lost} lost, {report.gaps} gaps",
        f"slow readers       {dropped:.0f} of {slow_count} cut",
        f"frames             {report.frames:,} ({report.frames / max(report.connected, 1) / seconds:.2f} a second and "
        f"reader, at most {report.most_per_second} in any second), {report.bytes / 1e6:,.0f} MB",
        f"first frame        {first[len(first) // 2]:.2f} s (median), {first[-1]:.2f} s (last); all come at once",
        f"server             {cpu:.0%} of one core",
        f"its memory         {alone / 1e6:.0f} MB alone, {settled / 1e6:.0f} MB settled, "
        f"{peak / 1e6:.0f} MB at most, {running[-1][1] / 1e6:.0f} MB in the end",
    )
    sys.stdout.write("\n".join((*lines, "")))
    fine = report.connected == report.wanted and not report.lost and not report.gaps
    fine = fine and dropped == slow_count and growth <= MAX_GROWTH_BYTES
    sys.stdout.write("PASS\n" if fine else "FAIL\n")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
