"""A whole pipeline of a test's own, run as a user runs it: commands in processes, numbers over HTTP and SQL."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import httpx
import psycopg
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from testbed.processes import LOOPBACK, ChildProcess, PartError, free_port, wait_until

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
SETTLE_TIMEOUT_S = 120.0
COMMAND_TIMEOUT_S = 120.0
_OURS = re.compile("KAFKA_|PENSTOCK_|SCHEMA_REGISTRY_|LOG_|DATABASE_URL$|PYTHONPATH$")


class Parts(NamedTuple):
    """Where the real parts are."""

    bootstrap_servers: str
    registry_url: str


class Done(NamedTuple):
    """What a one-shot command ended with."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """All that it said."""
        return self.stdout + self.stderr

    @property
    def verdict_line(self) -> str:
        """The last line of its standard error: where a failure is explained."""
        return (self.stderr.strip().splitlines() or [""])[-1]


class Answer(NamedTuple):
    """What ``/live`` or ``/ready`` says; without an answer the status is 0."""

    status: int
    problems: dict[str, str]


class Stage:
    """A command that runs until it is stopped, its HTTP server, and its log."""

    def __init__(self, name: str, child: ChildProcess, port: int) -> None:
        self.name = name
        self.child = child
        self.url = f"http://{LOOPBACK}:{port}"

    @property
    def log(self) -> str:
        """All that it said so far, in all of its lives."""
        return self.child.log.read_text(encoding="utf-8", errors="replace")

    def ask(self, path: str) -> Answer:
        """Ask ``/live`` or ``/ready``."""
        try:
            answer = httpx.get(f"{self.url}{path}", timeout=5.0)
        except httpx.TransportError:
            return Answer(0, {})
        return Answer(answer.status_code, answer.json()["problems"])

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        """Return the samples of ``/metrics``: name, labels, value; none while it does not listen."""
        try:
            text = httpx.get(f"{self.url}/metrics", timeout=30.0).text
        except httpx.TransportError:
            return []
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return [(sample.name, sample.labels, sample.value) for sample in samples]

    def until(self, condition: Callable[[], T], what: str, timeout: float = 60.0) -> T:
        """Wait for a condition; fails with the log's end at the deadline, and as soon as the stage has ended."""
        return self.child.wait_until(condition, timeout, what)

    def until_ready(self, timeout: float = 60.0) -> Self:
        """Wait until it does its work."""
        self.until(lambda: self.ask("/ready").status == 200, f"{self.name} is ready", timeout)
        return self

    def until_waiting_for(self, part: str, timeout: float = 60.0) -> str:
        """Wait until it is live but not ready because of ``part``; return what it says of it."""

        def why() -> str:
            problems = self.ask("/ready").problems
            return next((f"{name}: {why}" for name, why in problems.items() if part in name), "")

        said = self.until(why, f"{self.name} says that {part} is away", timeout)
        assert self.ask("/live") == Answer(200, {})
        return said

    def until_ended(self, timeout: float = 60.0) -> int:
        """Wait until it ended by itself; return its exit code (negative: the signal that ended it)."""
        wait_until(lambda: not self.child.running, timeout, f"{self.name} ends", log=self.child.log)
        code = self.child.returncode
        assert code is not None
        return code


@dataclass
class Progress:
    """How far a pipeline is. True when all of ``acknowledged`` is settled, no pane is open and nothing lags."""

    acknowledged: int
    settled: float = 0
    imbalance: float = 0
    open_panes: float = 0
    lag: float = 0
    away: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        done = self.settled == self.acknowledged and not self.away
        return done and self.imbalance == self.open_panes == self.lag == 0


class Pipeline:
    """Topics, groups and a database of its own; stages are stopped when the block ends.

    All files (logs, truths, a SQLite database) are in ``folder``, which is every command's working directory.
    ``settings`` are environment variables on top of ours. ``acknowledged`` counts what was sent through it.
    """

    def __init__(
        self, parts: Parts, folder: Path, database_url: str = "", *, prefix: str = "", **settings: str
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        print(f"logs and database: {folder}")  # noqa: T201  # pytest shows it for a test that fails
        self.parts = parts
        self.folder = folder
        self.prefix = prefix or f"e2e-{uuid.uuid4().hex[:8]}-"
        self.database_url = database_url or f"sqlite:///{folder / 'views.db'}"
        self.stages: dict[str, Stage] = {}
        self.acknowledged = 0
        self._settings = settings
        self._truths = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        for stage in self.stages.values():
            stage.child.stop(timeout=30.0)

    def use(self, **settings: str) -> Self:
        """Have these settings from now on, for commands and for stages that are started then."""
        self._settings |= settings
        return self

    def environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of a command; what this machine sets for Penstock is left out."""
        machine = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
        return {
            **machine,
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
            "KAFKA_BOOTSTRAP_SERVERS": self.parts.bootstrap_servers,
            "SCHEMA_REGISTRY_URL": self.parts.registry_url,
            "DATABASE_URL": self.database_url,
            "PENSTOCK_TOPIC_PREFIX": self.prefix,
            "PENSTOCK_COMMIT_INTERVAL_S": "0.2",
            "PENSTOCK_HTTP_PORT": "0",
            **self._settings,
            **settings,
        }

    def run(
        self, *arguments: str | Path, expect: int = 0, timeout: float = COMMAND_TIMEOUT_S, **settings: str
    ) -> Done:
        """Run a one-shot command to its end; fails unless it ends with ``expect``, or if it says a traceback."""
        words = list(map(str, arguments))
        ended = subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            env=self.environment({"PENSTOCK_DIE_WITH_PARENT": "true", **settings}),
            cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
        done = Done(ended.returncode, ended.stdout, ended.stderr)
        with (self.folder / "commands.log").open("a", encoding="utf-8") as log:
            log.write(f"$ penstock {' '.join(words)}\n{done.output}\nexit code {done.code}\n\n")
        said = f"penstock {' '.join(words)} ended with {done.code}, not {expect}:\n{done.output}"
        assert done.code == expect, said
        assert "Traceback" not in done.output, said
        return done

    def create_topics(self) -> Self:
        """Create the topics."""
        self.run("topics", "create")
        return self

    def start(self, name: str, *arguments: str | Path, **settings: str) -> Stage:
        """Start a stage called ``name``, or start it again: its log goes on."""
        before = self.stages.get(name)
        port = free_port()
        child = ChildProcess(
            name,
            [sys.executable, "-m", "penstock", *arguments],
            self.folder / f"{name}.log",
            env=self.environment({"PENSTOCK_HTTP_PORT": str(port), **settings}),
            cwd=self.folder,
        )
        assert before is None or not before.child.running, f"{name} runs already"
        stage = self.stages[name] = Stage(name, child, port)
        child.start()
        return stage

    def start_processors(self, count: int = 1, **settings: str) -> list[Stage]:
        """Start processors."""
        return [self.start(f"processor-{number}", "process", **settings) for number in range(1, count + 1)]

    def start_views(self, **settings: str) -> Stage:
        """Start the view consumer, for all views."""
        return self.start("views", "materialize", **settings)

    def stop(self, *names: str, timeout: float = 30.0) -> None:
        """Stop stages (without a name: all) by SIGTERM; fails unless each ends with exit code 0."""
        chosen = names or tuple(self.stages)
        for name in chosen:
            self.stages[name].child.stop(timeout=timeout)
        codes = {name: self.stages.pop(name).child.returncode for name in chosen}
        assert set(codes.values()) <= {0}, f"exit codes after SIGTERM: {codes}; logs in {self.folder}"

    def send(self, *arguments: str | Path, expect: int = 0, **settings: str) -> dict[str, Any]:
        """Run ``produce …`` or ``replay …``; count what was acknowledged, and return the truth about the run."""
        self._truths += 1
        file = self.folder / f"truth-{self._truths}.json"
        self.run(*arguments, "--truth", file, expect=expect, timeout=COMMAND_TIMEOUT_S, **settings)
        return self.count(file)

    def count(self, truth_file: Path) -> dict[str, Any]:
        """Count what a run that ended has written as its truth, and return it."""
        truth: dict[str, Any] = json.loads(truth_file.read_text())
        assert truth["complete"]
        self.acknowledged += sum(topic["acknowledged"] for topic in truth["topics"].values())
        return truth

    def send_raw(self, topic: str, records: Iterable[tuple[str, bytes | None]], partition: int = 0) -> None:
        """Send (key, value) pairs as they are, in order, to one partition of a source topic (logical name)."""
        refused: list[object] = []
        producer = Producer(
            {
                "bootstrap.servers": self.parts.bootstrap_servers, "enable.idempotence": True,
                "compression.type": "lz4", "message.max.bytes": 10_000_000, "log_level": 2,
            }
        )  # fmt: skip
        count = 0
        for key, value in records:
            producer.produce(
                self.prefix + topic, value, key, partition, lambda error, _: refused.append(error) if error else None
            )
            count += 1
        assert producer.flush(30.0) == 0
        assert not refused
        self.acknowledged += count

    def progress(self) -> Progress:
        """Ask all processors and view consumers how far they are."""
        progress = Progress(self.acknowledged)
        for stage in self.stages.values():
            samples = stage.metrics()
            if not samples:
                progress.away += (stage.name,)
            for name, _, value in samples:
                if name == "penstock_books_events":
                    progress.settled += value
                elif name == "penstock_books_imbalance_events":
                    progress.imbalance += abs(value)
                elif name == "penstock_open_panes":
                    progress.open_panes += value
                elif name == "penstock_lag_events":
                    progress.lag += value
        return progress

    def settle(self, timeout: float = SETTLE_TIMEOUT_S) -> Self:
        """Wait until all that was acknowledged is settled, no pane is open and nothing lags; no stage may end."""

        def settled() -> Progress:
            for stage in self.stages.values():
                if not stage.child.running:
                    raise PartError(f"{stage.name} ended with {stage.child.returncode}:\n{stage.log[-4_000:]}")
            return self.progress()

        wait_until(settled, timeout, f"all is settled (logs in {self.folder})", every=0.2)
        return self

    def prove(self, timeout: float = SETTLE_TIMEOUT_S) -> dict[str, Any]:
        """Settle, run ``verify``, and return its document; fails unless all is proved and the books hold it all."""
        self.settle(timeout)
        verdict = self.verify()
        assert sum(book["position"] - book["start"] for book in verdict["books"]) == self.acknowledged
        return verdict

    def verify(self, expect: int = 0, **settings: str) -> dict[str, Any]:
        """Run ``verify --json`` and return its document."""
        words = ("verify", "--json", "--timeout", "60")
        done = self.run(*words, expect=expect, timeout=COMMAND_TIMEOUT_S, **settings)
        verdict: dict[str, Any] = json.loads(done.stdout)
        assert verdict["proved"] == (expect == 0)
        return verdict

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the views."""
        if self.database_url.startswith("sqlite:///"):
            file = self.database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=10.0)) as connection:
                return connection.execute(query).fetchall()
        with psycopg.connect(self.database_url, autocommit=True) as database:
            return database.execute(query.encode()).fetchall()

    def row(self, query: str) -> tuple[Any, ...]:
        """Return the only row of a query on the views."""
        (row,) = self.rows(query)
        return row


def fates(verdict: Mapping[str, Any]) -> dict[str, int]:
    """Return the books of ``verify --json`` by fate, over all partitions."""
    books: Sequence[Mapping[str, Any]] = verdict["books"]
    return {fate: sum(book["fates"][fate] for book in books) for fate in books[0]["fates"]}
