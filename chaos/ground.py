"""The ground of a scenario: parts, stages that are started again, the load, and waiting for recovery."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Self, TypeVar

from chaos.crew import Crew, Member, penstock
from chaos.proof import Truth, read_acks
from chaos.result import Result
from chaos.watch import Gauge, Mark, Side, Watch
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.pipeline import Parts, Pipeline, Stage
from testbed.postgres import Postgres
from testbed.processes import wait_until
from testbed.registry import SchemaRegistry

T = TypeVar("T")

DEADLINE_S = 60.0
SETTLE_TIMEOUT_S = 120.0
SESSION_MS = 6_000
FAST, SLOW = 6.0, 2.0
LONG_S = 15 * 60
"""How long event time may run at speed FAST before it has come up with the clock."""


@dataclass(frozen=True)
class Shared:
    """The parts that all scenarios share. Don't kill them: a scenario that does so has parts of its own."""

    kafka: KafkaBroker | ExternalKafka
    registry: SchemaRegistry
    postgres: Postgres
    registered: set[str] = field(default_factory=set)
    """Addresses of registries that have the contracts."""


class Ground:
    """A pipeline under load. ``result`` counts all that is done to it; ``folder`` has its logs, truths and database.

    ``shared`` are the parts that all scenarios have in common; :meth:`use` chooses others before :meth:`begin`.
    Raises AssertionError, TimeoutError or PartError where the pipeline does not keep a promise; close it in any case.
    """

    def __init__(
        self, shared: Shared, folder: Path, result: Result, rng: Random, *, database_url: str, minutes: float = 0
    ) -> None:
        self.shared = shared
        self.folder = folder
        self.result = result
        self.truth = Truth()
        self.pipeline = Pipeline(
            Parts(shared.kafka.bootstrap_servers, shared.registry.url),
            folder,
            database_url,
            prefix=f"chaos-{rng.randrange(16**8):08x}-",
            PENSTOCK_COMMIT_INTERVAL_S="1.0",
            PENSTOCK_SESSION_TIMEOUT_MS=str(SESSION_MS),
        )
        self.environment: dict[str, str] = {}
        """What stages see on top of the pipeline's own environment."""
        self._rng = rng
        self._seconds = minutes * 60
        self._crew: Crew | None = None
        self._watch: Watch | None = None
        self._marks: list[Mark] = []
        self._acks: list[Path] = []
        self._began_ms = time.time_ns() // 1_000_000

    def use(
        self, *, bootstrap_servers: str = "", registry_url: str = "", database_url: str = "", **stages: str
    ) -> Self:
        """Choose parts, for the rig and its stages; ``stages`` is what stages alone see (proxies), by variable.

        Call it before :meth:`begin`; ``stages`` also later, for those that are started then.
        """
        parts = self.pipeline.parts
        self.pipeline.parts = Parts(bootstrap_servers or parts.bootstrap_servers, registry_url or parts.registry_url)
        self.pipeline.database_url = database_url or self.pipeline.database_url
        self.environment |= stages
        return self

    def begin(self) -> Self:
        """Register the contracts where that was not done, create the topics and begin to watch."""
        if self.pipeline.parts.registry_url not in self.shared.registered:
            self.pipeline.run("schemas", "register")
            self.shared.registered.add(self.pipeline.parts.registry_url)
        self.pipeline.create_topics()
        self._crew = Crew(self.pipeline, self.result)
        self._watch = Watch(self.pipeline)
        self._crew.ended_at_failpoint = self._killed_itself
        return self

    def start(self, command: str, count: int = 1, **environment: str) -> list[str]:
        """Start ``count`` more stages of ``penstock COMMAND`` (process, materialize) and return their names.

        They are called ``process-1``, ``process-2``; they are started again whenever they end, with ``environment``.
        """
        names = []
        for _ in range(count):
            taken = {member.name for member in self.crew.named(command)}
            name = next(name for i in range(1, 1_000) if (name := f"{command}-{i}") not in taken)
            self.crew.add(Member(name, command, penstock(command), {**self.environment, **environment}))
            names.append(name)
        return names

    def load(self, rate: float = 600.0, *, speed: float = 0, poison: float = 0.01, topics: Sequence[str] = ()) -> str:
        """Start producing, ``rate`` events a second with all faults, until :meth:`stop_load`; return its name.

        Event time runs ``speed`` times as fast as the clock, from two hours back; by default as fast as it may.
        """
        speed = speed or (FAST if self._seconds < LONG_S else SLOW)
        name = f"load-{len(self.crew.named('load')) + 1}"
        seed = self._rng.randrange(1 << 31)

        def words(life: int) -> Sequence[str]:
            acks = self.folder / f"{name}-{life}.acks"
            self._acks.append(acks)
            flags = {
                "--rate": rate, "--speed": speed, "--poison": poison, "--began-ms": self._began_ms,
                "--seed": seed + life, "--acks": acks, "--truth": self.folder / f"{name}-{life}.json",
            }  # fmt: skip
            chosen = ("--topics", *topics) if topics else ()
            return ["-m", "chaos.loader", *(str(word) for flag in flags.items() for word in flag), *chosen]

        self.crew.add(Member(name, "load", words, dict(self.environment)))
        return name

    def send(self, *arguments: str | Path, **environment: str) -> dict[str, Any]:
        """Run ``penstock produce …`` to its end beside the load, count its truth, and return it."""
        return self._count(self.pipeline.send(*arguments, expect=0, **environment))

    def _count(self, truth: dict[str, Any]) -> dict[str, Any]:
        for topic, told in truth["topics"].items():
            self.truth.add(self.pipeline.prefix + topic, told["fates"])
        return truth

    @property
    def crew(self) -> Crew:
        """The stages; after :meth:`begin`."""
        assert self._crew is not None
        return self._crew

    @property
    def gauge(self) -> Gauge:
        """For looking at positions: ends of logs, frontiers, what views have merged; after :meth:`begin`."""
        assert self._watch is not None
        return self._watch.gauge

    def stage(self, name: str) -> Stage:
        """Return a stage, for its log, its health and its metrics."""
        stage = self.crew.members[name].stage
        assert stage is not None
        return stage

    def names(self, command: str = "") -> list[str]:
        """Return the names of the stages that should run: of one command, or all."""
        return sorted(m.name for m in self.crew.members.values() if command in ("", m.command))

    def rounds(self, count: int) -> Iterator[int]:
        """Yield the numbers of rounds, and count them: ``count`` of them, or as long as ``--minutes`` says."""
        until = time.monotonic() + self._seconds
        number = 0
        while number < count or time.monotonic() < until:
            yield number
            number += 1
            self.result.rounds += 1

    def wait(self, seconds: float) -> None:
        """Let the load go on for a while; fails as soon as a stage has stopped loudly."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self._check_loud_stops()
            time.sleep(0.05)

    def wait_for(self, condition: Callable[[], T], what: str, timeout: float = DEADLINE_S) -> T:
        """Wait for a condition; fails at the deadline, and as soon as a stage has stopped loudly."""

        def asked() -> T:
            self._check_loud_stops()
            return condition()

        return wait_until(asked, timeout, f"{what} (logs in {self.folder})", every=0.1)

    def recovered(
        self, deadline_s: float = DEADLINE_S, what: str = "after the fault", sides: Sequence[Side] = ()
    ) -> float:
        """Wait until all that the logs hold now is settled and merged; return the seconds, which are noted as ``what``.

        Call it when the fault is over. ``sides``: of whom; by default of all stages that there are. Also waits for the
        recoveries that began before, and until all stages are at work again. Raises TimeoutError after ``deadline_s``.
        """
        seconds = self._recover(deadline_s, what, sides)
        self.result.recovered(what, seconds)
        return seconds

    def settled(self, timeout: float = SETTLE_TIMEOUT_S) -> Self:
        """Wait until all stages are up and have settled what the logs hold now; nothing is noted."""
        self.wait_for(self.crew.all_work, "all stages are at work", timeout)
        self._recover(timeout, "start", ())
        return self

    def _recover(self, deadline_s: float, what: str, sides: Sequence[Side]) -> float:
        assert self._watch is not None
        marks = self._watch.mark(what, sides or sorted({member.side for member in self.crew.members.values()}))
        self.wait_for(lambda: all(mark.took_s is not None for mark in marks), f"recovery {what}", deadline_s)
        self.wait_for(lambda: all(mark.took_s is not None for mark in self._marks), "recovery of all", deadline_s)
        self.wait_for(self.crew.all_work, "all stages are at work", deadline_s)
        return max((mark.took_s or 0.0 for mark in marks), default=0.0)

    def _mark(self, what: str, *sides: Side, at: float | None = None) -> list[Mark]:
        assert self._watch is not None
        marks = self._watch.mark(what, sides, at)
        self._marks += marks
        return marks

    def _killed_itself(self, member: Member) -> None:
        self._mark(f"{member.side} killed at a failpoint", member.side)

    def _check_loud_stops(self) -> None:
        for name, stage in self.crew.stopped.items():
            raise AssertionError(f"{name} stopped loudly (exit code 4):\n{stage.log[-3_000:]}")

    def stop_load(self) -> None:
        """Stop producing; what was acknowledged is the truth from now on."""
        for name in self.names("load"):
            self.crew.remove(name)
        acks = read_acks(file for file in self._acks if file.exists())
        for topic, fate, count in acks.group_by("topic", "fate").len().iter_rows():
            self.truth.add(topic, {fate: count})

    def close(self) -> None:
        """End all stages, note the recovery times, remove the topics."""
        if self._watch is not None:
            for mark in [mark for mark in self._marks if mark.took_s is not None]:
                self.result.recovered(mark.what, mark.took_s or 0.0)
            self._watch.close()
        if self._crew is not None:
            self._crew.close()
