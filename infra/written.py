"""What the stack's own files say it is: services, ports, who is scraped. So the check needs no lists of its own."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
COMPOSE = ROOT / "docker-compose.yml"
PROMETHEUS = ROOT / "infra" / "prometheus" / "prometheus.yml"


@dataclass(frozen=True)
class Stage:
    """A service of our own image that goes on, and the job that watches it; ``instance`` if it is one target of it."""

    service: str
    job: str
    instance: str = ""


def services() -> dict[str, Mapping[str, Any]]:
    """Return the services that `up` starts and that go on, by name."""
    found = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return {name: service for name, service in found.items() if not service.get("profiles") and _goes_on(service)}


def containers() -> dict[str, int]:
    """Return how many containers each of these services has."""
    return {name: service.get("deploy", {}).get("replicas", 1) for name, service in services().items()}


def ports() -> tuple[str, ...]:
    """Return the variables that say where the stack listens on this machine."""
    return tuple(sorted(set(re.findall(r"\$\{(\w+_PORT)\}", COMPOSE.read_text(encoding="utf-8")))))


def targets() -> dict[str, int]:
    """Return how many addresses Prometheus scrapes, by job."""
    count = containers()
    return {job: sum(count.get(address, 1) for address in addresses) for job, addresses in _jobs().items()}


def stages() -> list[Stage]:
    """Return the stages. Raises LookupError for one that Prometheus does not scrape."""
    ours = [name for name, service in services().items() if service["image"].startswith("penstock:")]
    return [_stage(name) for name in ours]


def _goes_on(service: Mapping[str, Any]) -> bool:
    return not service["healthcheck"].get("disable", False)


def _stage(name: str) -> Stage:
    for job, addresses in _jobs().items():
        for address in addresses:
            if address == name:
                return Stage(name, job)
            if address.partition(":")[0] == name:
                return Stage(name, job, address)
    raise LookupError(f"{PROMETHEUS.name} scrapes nothing of {name}")


def _jobs() -> dict[str, list[str]]:
    """Return what each job scrapes: addresses (HOST:PORT), or names that stand for all containers of a service."""
    found = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["scrape_configs"]
    jobs: dict[str, list[str]] = {}
    for job in found:
        fixed = [target for config in job.get("static_configs", ()) for target in config["targets"]]
        jobs[job["job_name"]] = fixed + [name for config in job.get("dns_sd_configs", ()) for name in config["names"]]
    return jobs
