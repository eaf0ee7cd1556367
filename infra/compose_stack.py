"""The compose stack under a project name and ports of its own, as ``check_compose.py`` asks it."""

import json
import math
import os
import socket
import subprocess
import time
from collections.abc import Mapping
from typing import Any, LiteralString

import httpx
import psycopg
from psycopg import sql

from infra.checking import CheckError
from infra.written import ROOT, ports

PROJECT = "penstock-check"
UP_DEADLINE_S = 300
VERIFY_DEADLINE_S = 300


class Stack:
    """The compose project, and what can be asked of it from this machine."""

    def __init__(self) -> None:
        self._ports = dict(zip(ports(), free_ports(len(ports())), strict=True))
        self._up_at = time.monotonic()
        self._environment = os.environ | {name: str(port) for name, port in self._ports.items()}
        password = self._environment.get("POSTGRES_PASSWORD") or local_default("POSTGRES_PASSWORD")
        self._environment |= {"POSTGRES_PASSWORD": password, "VERIFY_EVERY": "20s"}
        self._database = (
            f"postgresql://penstock:{password}@127.0.0.1:{self._ports['POSTGRES_PORT']}/penstock?connect_timeout=5"
        )

    def compose(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run ``docker compose`` and return its output. Raises :class:`CheckError`, with all it said, when it fails."""
        command = ["docker", "compose", "-p", PROJECT, *arguments]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=self._environment, timeout=timeout_s, check=False, text=True,
                stdin=subprocess.DEVNULL, capture_output=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise CheckError(f"{' '.join(command)}: not done after {timeout_s:.0f} s") from None
        if done.returncode != 0:
            raise CheckError(f"{' '.join(command)}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-8000:]}")
        return done.stdout

    def up(self) -> None:
        """Build what changed, start what is not there, and wait until all is healthy."""
        arguments = ("up", "--build", "--wait", "--wait-timeout", str(UP_DEADLINE_S))
        self.compose(*arguments, timeout_s=UP_DEADLINE_S + 300)
        self._up_at = time.monotonic()

    @property
    def up_s(self) -> float:
        """How long it has been up, in seconds."""
        return time.monotonic() - self._up_at

    def down(self, *options: str) -> None:
        """Remove the containers; the volumes stay unless ``-v`` is among ``options``."""
        self.compose("--profile", "tools", "down", "--remove-orphans", *options, timeout_s=300)

    def kill(self, service: str) -> None:
        """Kill all containers of a service; they stay dead until :meth:`start`."""
        self.compose("kill", service)

    def start(self, service: str) -> None:
        """Start the containers of a service again."""
        self.compose("start", service)

    def healthy(self) -> dict[str, int]:
        """Return how many containers are healthy, by service."""
        counts: dict[str, int] = {}
        for line in self.compose("ps", "--format", "json").splitlines():
            container = json.loads(line)
            if container["Health"] == "healthy":
                counts[container["Service"]] = counts.get(container["Service"], 0) + 1
        return counts

    def penstock(self, *arguments: str) -> str:
        """Run a one-shot ``penstock`` command inside the network and return what it printed."""
        wide = ("-T", "-e", "COLUMNS=160")
        return self.compose("run", "--rm", "--no-deps", *wide, "penstock", *arguments, timeout_s=VERIFY_DEADLINE_S)

    def prometheus(self, path: str, **parameters: str) -> Any:
        """Return ``data`` of an answer of Prometheus's API."""
        url = f"http://127.0.0.1:{self._ports['PROMETHEUS_PORT']}/api/v1/{path}"
        answer = httpx.get(url, params=parameters, timeout=10, trust_env=False)
        answer.raise_for_status()
        return answer.json()["data"]

    def figure(self, expression: str) -> float | None:
        """Return the one number that a PromQL expression gives, or None when there is none yet."""
        result = self.prometheus("query", query=expression)["result"]
        return float(result[0]["value"][1]) if result else None

    def has_answer(self, expression: str) -> bool:
        """Return whether a PromQL expression gives any number now."""
        result = self.prometheus("query", query=expression)["result"]
        return any(not math.isnan(float(series["value"][1])) for series in result)

    def firing(self) -> list[Mapping[str, str]]:
        """Return the labels of the alerts that Prometheus fires, their names among them."""
        return [alert["labels"] for alert in self.prometheus("alerts")["alerts"] if alert["state"] == "firing"]

    def notified(self) -> list[Mapping[str, str]]:
        """Return the labels of the alerts that Alertmanager has."""
        url = f"http://127.0.0.1:{self._ports['ALERTMANAGER_PORT']}/api/v2/alerts"
        alerts = httpx.get(url, timeout=10, trust_env=False).raise_for_status().json()
        return [alert["labels"] for alert in alerts]

    def served(self, path: str) -> httpx.Response:
        """Return what the live page's server answers."""
        url = f"http://127.0.0.1:{self._ports['SERVE_PORT']}{path}"
        return httpx.get(url, timeout=10, trust_env=False).raise_for_status()

    def dashboards(self) -> set[str]:
        """Return the uids of the dashboards that Grafana has."""
        url = f"http://127.0.0.1:{self._ports['GRAFANA_PORT']}/api/search"
        login = ("admin", self._environment.get("GRAFANA_PASSWORD") or local_default("GRAFANA_PASSWORD"))
        found = httpx.get(url, params={"type": "dash-db"}, auth=login, timeout=10, trust_env=False)
        return {board["uid"] for board in found.raise_for_status().json()}

    def sql(self, query: sql.Composed | LiteralString) -> list[tuple[Any, ...]]:
        """Return the rows of a query on Postgres."""
        with psycopg.connect(self._database) as connection:
            return connection.execute(query).fetchall()

    def count(self, relation: str) -> int:
        """Return how many rows a relation has."""
        counting = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(relation))
        return int(self.sql(counting)[0][0])

    def schema_ids(self) -> dict[str, int]:
        """Return the id of the newest version of each subject, by subject."""
        base = f"http://127.0.0.1:{self._ports['REGISTRY_PORT']}/apis/ccompat/v7/subjects"
        with httpx.Client(timeout=10, trust_env=False) as client:
            subjects = client.get(base).raise_for_status().json()
            newest = {name: client.get(f"{base}/{name}/versions/latest").raise_for_status() for name in subjects}
        return {name: answer.json()["id"] for name, answer in newest.items()}


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def local_default(name: str) -> str:
    """Return the value of ``name`` in the project's .env."""
    lines = (ROOT / ".env").read_text(encoding="utf-8").splitlines()
    return next(line.partition("=")[2] for line in lines if line.startswith(f"{name}="))
