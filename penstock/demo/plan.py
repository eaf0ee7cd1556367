"""What the demo runs: its processes, their arguments and environment. Pure."""

from dataclasses import dataclass, field
from pathlib import Path

BASE_SECONDS = 120
"""Up to here events come at full rate; a longer demo is thinned, so that the embedded broker never trims its log."""

ORDERS_PER_S = 60.0
TELEMETRY_PER_S = 90.0
FAULTS = ("--disorder", "4s", "--duplicates", "1%", "--late", "1%", "--poison", "0.2%")
REPLAY_SPEED = 3_600


@dataclass(frozen=True)
class Child:
    """One process: ``penstock`` with these arguments. A stage has an HTTP port and is started again when it dies."""

    name: str
    arguments: tuple[str, ...]
    port: int | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def is_producer(self) -> bool:
        """True for what makes events: stopped first, never started again."""
        return self.arguments[0] in ("produce", "replay")


def stages(ports: list[int], page_port: int) -> list[Child]:
    """Return the processors, the view consumer and the live page. ``ports`` are three free ones."""
    page = {"PENSTOCK_SERVE_HOST": "127.0.0.1", "PENSTOCK_SERVE_PORT": str(page_port)}
    return [
        Child("processor-1", ("process",), ports[0]),
        Child("processor-2", ("process",), ports[1]),
        Child("views", ("materialize",), ports[2]),
        Child("page", ("serve",), page_port, page),
    ]


def producers(seconds: int, seed: int, ports: list[int], run: Path, samples: Path) -> list[Child]:
    """Return what makes events for ``seconds``. ``ports`` are four free ones; truths are written into ``run``."""
    thin = min(1.0, BASE_SECONDS / max(seconds, 1))
    common = ("--no-close", "--seed", str(seed))
    live = ("--live", "--speed", str(REPLAY_SPEED), "--no-close")
    retail = sorted(str(path) for path in (samples / "online-retail").glob("*.csv"))
    readings = sorted(str(path) for path in (samples / "numenta").glob("ambient*.csv"))

    def child(position: int, name: str, *arguments: str) -> Child:
        truth = ("--truth", str(run / f"truth-{name}.json"))
        return Child(name, (*arguments, *truth), ports[position])

    return [
        child(0, "orders", "produce", "orders", "--rate", f"{ORDERS_PER_S * thin:g}", *common, *FAULTS),
        child(
            1, "telemetry", "produce", "telemetry", "--rate", f"{TELEMETRY_PER_S * thin:g}", "--devices", "40",
            *common, *FAULTS,
        ),
        child(2, "retail", "replay", "online-retail", *live, *retail),
        child(
            3, "thermostat", "replay", "readings", "--sensor", "temperature", "--unit", "fahrenheit", *live, *readings
        ),
    ]  # fmt: skip


def environment(bootstrap: str, run: Path, seconds: int) -> dict[str, str]:
    """Return the settings that all processes share."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap,
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
        "DATABASE_URL": f"sqlite:///{run / 'views.db'}",
        "PENSTOCK_EMBEDDED": "true",
        "PENSTOCK_RUN_ID": run.name,
        "PENSTOCK_TOPIC_PREFIX": "",
        "PENSTOCK_PIPELINE_VERSION": "1",
        "PENSTOCK_EARLY_RESULTS_INTERVAL_S": "0.5" if seconds <= BASE_SECONDS else "1.0",
        "PENSTOCK_DIE_WITH_PARENT": "true",
        "LOG_FORMAT": "console",
    }
