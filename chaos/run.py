"""Playing scenarios one after the other on shared parts, a folder a run."""

from __future__ import annotations

import json
import os
import platform
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from chaos.result import Result
from chaos.rig import Rig, Shared
from chaos.scenario import DatabaseKind, Scenario
from testbed.java import QUICK_START
from testbed.kafka import KAFKA_VERSION, KafkaBroker
from testbed.pipeline import Pipeline
from testbed.postgres import Postgres
from testbed.registry import SchemaRegistry

RESULTS = "results.json"


@dataclass(frozen=True)
class Run:
    """Where a run writes, and what decides its course."""

    folder: Path
    seed: int
    minutes: float = 0
    tell: Callable[[str], None] = print

    def play_all(self, scenarios: Sequence[Scenario]) -> list[Result]:
        """Play ``scenarios`` and write their results after each, so that a run that is cut short has told its part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        results: list[Result] = []
        with shared_parts() as shared:
            for number, scenario in enumerate(scenarios):
                database: DatabaseKind = scenario.database or ("sqlite" if number % 2 else "postgres")
                result = self._play(scenario, shared, database)
                results.append(result)
                self._write(results)
                self.tell(line_of(result))
                if result.outcome == "failed":
                    self.tell(f"  {result.error}\n  logs: {result.folder}\n  again: {self.again(scenario.name)}")
        return results

    def again(self, name: str) -> str:
        """Return the command that plays one scenario of this run again."""
        minutes = f" --minutes {self.minutes:g}" if self.minutes else ""
        return f"python -m chaos --only {name} --seed {self.seed}{minutes}"

    def _play(self, scenario: Scenario, shared: Shared, database: DatabaseKind) -> Result:
        folder = self.folder / scenario.name
        seed = f"{self.seed}:{scenario.name}"
        result = Result(scenario.name, scenario.kind, scenario.fault, seed, database, folder=str(folder))
        rng = Random(seed)
        began = time.monotonic()
        url = "" if database == "sqlite" else shared.postgres.create_database(f"{scenario.name}-{os.getpid()}")
        rig = Rig(shared, folder, result, rng, database_url=url, minutes=self.minutes)
        try:
            scenario.play(rig, rng)
            promised = "proved" if scenario.ends == "proved" else "stopped as promised"
            if result.outcome != promised:
                raise AssertionError(f"{scenario.name} ended without its proof: {result.outcome}, not {promised}")
        except Exception as error:  # whatever it is, the scenario failed, and the others go on
            result.outcome, result.error = "failed", f"{type(error).__name__}: {error}"[:2_000]
            (folder / "error.log").write_text(traceback.format_exc(), encoding="utf-8")
        finally:
            rig.close()
            result.seconds = round(time.monotonic() - began, 1)
        if result.outcome != "failed":
            with suppress(KafkaException):  # topics that stay cost little
                remove_topics(rig.pipeline)
        return result

    def _write(self, results: Sequence[Result]) -> None:
        document = {"seed": self.seed, "machine": machine(), "scenarios": [result.as_json() for result in results]}
        partial = self.folder / f"{RESULTS}.part"
        partial.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        partial.replace(self.folder / RESULTS)


def line_of(result: Result) -> str:
    """Return a result in one line."""
    recoveries = sorted(seconds for each in result.recoveries_s.values() for seconds in each)
    median = f"{recoveries[len(recoveries) // 2]:.1f}/{recoveries[-1]:.1f} s" if recoveries else "-"
    return (
        f"{result.name:28} {result.outcome:20} {result.seconds:6.1f} s  rounds {result.rounds}  "
        f"events {result.events:,}  kills {result.kills}+{result.part_kills}  zombies {result.zombies}  "
        f"recovery {median}  lost {result.lost}  doubled {result.doubled}"
    )


def machine() -> dict[str, Any]:
    """Return what the machine is."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "kafka": KAFKA_VERSION}


def remove_topics(pipeline: Pipeline) -> None:
    """Remove a scenario's topics, so that the broker stays small. Raises KafkaException."""
    admin = AdminClient({"bootstrap.servers": pipeline.parts.bootstrap_servers, "log_level": 0})
    names = [name for name in admin.list_topics(timeout=10.0).topics if name.startswith(pipeline.prefix)]
    for future in (admin.delete_topics(names) if names else {}).values():
        future.result(10.0)


@contextmanager
def shared_parts() -> Iterator[Shared]:
    """Start Kafka, a registry and Postgres for all scenarios. Raises PartUnavailableError where one can't be had."""
    with KafkaBroker(jvm_options=QUICK_START) as kafka, SchemaRegistry() as registry, Postgres() as postgres:
        yield Shared(kafka, registry, postgres)


