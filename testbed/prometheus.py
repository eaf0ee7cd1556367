"""A real Prometheus: Debian's, with a configuration and rules that are given to it as text."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

import yaml

from testbed.part import Part, PartName
from testbed.processes import LOOPBACK, PartError, free_port

CONFIG = "prometheus.yml"
REQUEST_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Series:
    """One series of an answer: its labels (`__name__` among them) and its value at the time asked for."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Alert:
    """An alert that is `pending` or `firing`."""

    name: str
    state: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]


def scrape_config(
    jobs: Mapping[str, Sequence[str]], *, every_s: float = 1.0, rules: Sequence[str] = (), **more: Any
) -> str:
    """Return a configuration that scrapes `jobs` (their targets, HOST:PORT) and evaluates `rules` every `every_s`.

    `rules` are names of files beside the configuration; `more` are top-level sections of it.
    """
    every = f"{round(every_s * 1000)}ms"
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": list(rules),
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]} for job, targets in jobs.items()
            ],
            **more,
        }
    )


class Prometheus(Part):
    """Prometheus on 127.0.0.1. `config` is the text of its configuration, `files` what lies beside it, by name.

    `rule_files` and the like are looked for beside the configuration. Its series survive `stop`, and `kill` all but
    what it had not written yet. `reload` puts another configuration in force.
    """

    name: ClassVar[PartName] = "prometheus"

    def __init__(self, config: str = "", files: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.port = free_port()
        self._write(config or scrape_config({}), files or {})

    @classmethod
    def missing(cls) -> str | None:
        """Why Prometheus can't be started here, and how to get it; None when it can."""
        if shutil.which("prometheus") is None:
            return "Prometheus: no prometheus in PATH. Install it (Debian: apt-get install prometheus)"
        return None

    @property
    def url(self) -> str:
        """The base of its HTTP API: `http://127.0.0.1:PORT`."""
        return f"http://{LOOPBACK}:{self.port}"

    def reload(self, config: str, files: Mapping[str, str] | None = None) -> None:
        """Put `config` in force, in place of the one it has; PartError if Prometheus refuses it."""
        self._write(config, files or {})
        status, body = self._ask("POST", "/-/reload")
        if status != http.HTTPStatus.OK:
            raise PartError(f"prometheus refuses its configuration: {body}")

    def query(self, expression: str, *, at_s: float | None = None) -> list[Series]:
        """Evaluate `expression` now, or at a Unix time; a scalar is one series without labels.

        ValueError with Prometheus' words for an expression that is wrong.
        """
        answer = self.api("query", query=expression, **({} if at_s is None else {"time": f"{at_s:.3f}"}))
        if answer["resultType"] == "scalar":
            return [Series({}, float(answer["result"][1]))]
        return [Series(item["metric"], float(item["value"][1])) for item in answer["result"]]

    def alerts(self, state: str = "firing") -> list[Alert]:
        """Return the alerts that are in `state`."""
        return [
            Alert(item["labels"]["alertname"], item["state"], item["labels"], item["annotations"])
            for item in self.api("alerts")["alerts"]
            if item["state"] == state
        ]

    def targets_up(self) -> dict[str, bool]:
        """Return by target (`JOB HOST:PORT`) whether the last scrape of it worked."""
        active = self.api("targets", state="active")["activeTargets"]
        return {f"{item['labels']['job']} {item['labels']['instance']}": item["health"] == "up" for item in active}

    def api(self, call: str, **parameters: str) -> Any:
        """Return the `data` of GET /api/v1/`call`; ValueError with Prometheus' words if it says no."""
        status, body = self._ask("GET", f"/api/v1/{call}?{urlencode(parameters)}")
        answer = json.loads(body)
        if status != http.HTTPStatus.OK or answer["status"] != "success":
            raise ValueError(f"{call} {parameters}: {answer.get('error', body)}")
        return answer["data"]

    def _command(self) -> Sequence[str | Path]:
        return [
            "prometheus",
            f"--config.file={self.directory / CONFIG}",
            f"--storage.tsdb.path={self.directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{self.port}",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ]

    def _ready(self) -> bool:
        try:
            return self._ask("GET", "/-/ready")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def _write(self, config: str, files: Mapping[str, str]) -> None:
        for name, text in {**files, CONFIG: config}.items():
            (self.directory / name).write_text(text, encoding="utf-8")

    def _ask(self, method: str, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()
