"""The rules of this repository on a real Prometheus beside the real pipeline: what breaks fires, mended it clears."""

import re
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.part import Part
from testbed.pipeline import Parts, Pipeline
from testbed.processes import wait_until
from testbed.prometheus import Alert, Prometheus, scrape_config
from testbed.registry import SchemaRegistry

RULES = Path(__file__).parents[2] / "infra" / "prometheus" / "rules"
JOBS = {"producers": ("orders",), "processors": ("processor-1",), "consumers": ("views",)}
PATIENCE_S = 240.0
QUICKER = 30
SHORTEST_RANGE_S = 5
"""Prometheus scrapes once a second here: a rate over less would now and then have nothing to go by."""
LONG_MEMORY = ("FreshnessBudgetBurns",)
"""It looks back two hours and six: minutes here, which the test would only wait for."""
NEVER = {"BooksOutOfBalance", "NumbersNotProved"}
"""What no fault of a process or a part may bring about. (Nor ViewsDisagreeWithBooks: but it gives what is in flight ten
minutes, of which little is left here.)"""


def quickened(rules: str) -> str:
    """Return rules with a thirtieth of their ranges (5 s at least), waiting times (`for`) and intervals (1 s at least),
    so that a test need not wait for minutes. Nothing else is changed: not a threshold, not an expression."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[2]) * {"s": 1, "m": 60, "h": 3_600, "d": 86_400}[found[3]]
        return f"{found[1]}{max(seconds // QUICKER, 1 if ':' in found[1] else SHORTEST_RANGE_S)}s"

    return re.sub(r"(\[|for: |interval: |offset )(\d+)([smhd])\b", shorter, rules)


class Watch:
    """Prometheus, scraping a pipeline."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._began_s = time.monotonic()

    def firing(self, name: str = "", **labels: str) -> list[Alert]:
        """Return the alerts that fire, those of one name if given; fails if one does that never may."""
        alerts = self._prometheus.alerts()
        assert not NEVER & {alert.name for alert in alerts}, alerts
        return [alert for alert in alerts if name in {"", alert.name} and labels.items() <= alert.labels.items()]

    def until_fires(self, name: str, **labels: str) -> None:
        self._until(lambda: self.firing(name, **labels), f"{name} {labels} fires")

    def until_clear(self, *names: str) -> None:
        for name in names:
            self._until(lambda name=name: not self.firing(name), f"{name} clears")  # type: ignore[misc]

    def until_quiet(self, but: Collection[str] = ()) -> None:
        self._until(lambda: all(alert.name in but for alert in self.firing()), "nothing fires")

    def until_fresh(self) -> None:
        expression = (
            'max(penstock_freshness_probe_age_seconds{topic="orders"}) < 5'
            ' and on () topic:penstock_freshness_slow:ratio_rate1m{topic="orders"} < 0.1'
        )
        self._until(lambda: self._prometheus.query(expression), "probes come through")

    def _until(self, condition: Callable[[], object], what: str) -> None:
        wait_until(condition, PATIENCE_S, what, every=0.2)
        print(f"{time.monotonic() - self._began_s:6.1f} s: {what}")  # noqa: T201  # shown for a test that fails


@pytest.fixture
def broker(start_part: Callable[[Part], None]) -> Iterator[KafkaBroker]:
    """A Kafka of the test's own."""
    broker = KafkaBroker(jvm_options=QUICK_START)
    start_part(broker)
    with broker:
        yield broker


@pytest.fixture
def pipeline(broker: KafkaBroker, registry: SchemaRegistry, tmp_path: Path) -> Iterator[Pipeline]:
    """The stages on real parts, live events coming."""
    with Pipeline(Parts(broker.bootstrap_servers, registry.url), tmp_path) as pipeline:
        pipeline.run("schemas", "register")
        pipeline.create_topics()
        pipeline.start("orders", "produce", "orders", "--rate", "50", "--seed", "7", "--no-close")
        pipeline.start_processors()
        pipeline.start_views()
        for stage in pipeline.stages.values():
            stage.until_ready(PATIENCE_S)
        yield pipeline


@pytest.fixture
def watch(pipeline: Pipeline, start_prometheus: Callable[..., Prometheus]) -> Watch:
    """A Prometheus that scrapes the pipeline under the repository's rules, and that has seen it healthy."""
    targets = {
        job: [pipeline.stages[name].url.removeprefix("http://") for name in names] for job, names in JOBS.items()
    }
    rules = {path.name: quickened(path.read_text()) for path in RULES.glob("*.yml")}
    watch = Watch(start_prometheus(scrape_config(targets, rules=list(rules)), rules))
    watch.until_fresh()
    watch.until_quiet()
    return watch


@contextmanager
def killed(pipeline: Pipeline, name: str) -> Iterator[None]:
    """A stage that gets SIGKILL, and is started again at the end of the block."""
    child = pipeline.stages[name].child
    child.kill()
    yield
    child.start()


@contextmanager
def locked_database(pipeline: Pipeline) -> Iterator[None]:
    """The views' database, locked by somebody else while the block runs."""
    other = sqlite3.connect(pipeline.folder / "views.db", isolation_level=None)
    try:
        other.execute("PRAGMA busy_timeout = 30000")
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def test_the_quickened_rules_are_those_of_the_repository_but_for_their_times() -> None:
    text = "interval: 15s\nexpr: rate(a_total[5m]) > 30 and avg_over_time(b:ratio_rate1h[1m]) offset 5m > 60\nfor: 1m"
    quick = "interval: 1s\nexpr: rate(a_total[10s]) > 30 and avg_over_time(b:ratio_rate1h[5s]) offset 10s > 60\nfor: 2s"
    assert quickened(text) == quick


@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_whatever_breaks_fires_its_alert_which_clears_when_it_is_mended(
    pipeline: Pipeline, broker: KafkaBroker, watch: Watch
) -> None:
    with killed(pipeline, "views"):
        watch.until_fires("StageDown", job="consumers")
        watch.until_fires("GroupWithoutMembers", stage="consumers")
        watch.until_fires("NothingFresh", topic="orders")
        watch.until_fires("FreshnessBudgetBurnsFast", topic="orders")
    watch.until_clear("StageDown", "GroupWithoutMembers", "NothingFresh")

    with killed(pipeline, "processor-1"):
        watch.until_fires("StageDown", job="processors")
        watch.until_fires("GroupWithoutMembers", stage="processors")
    watch.until_clear("StageDown", "GroupWithoutMembers")

    with killed(pipeline, "orders"):
        watch.until_fires("StageDown", job="producers")
        watch.until_fires("NothingFresh", topic="orders")
    watch.until_clear("StageDown", "NothingFresh")

    with locked_database(pipeline):
        watch.until_fires("PartAway", stage="consumers", part="database")
    watch.until_clear("PartAway")

    broker.kill()
    for stage in ("producers", "processors", "consumers"):
        watch.until_fires("PartAway", stage=stage, part="kafka")
    broker.start()
    watch.until_clear("PartAway")
    watch.until_fresh()
    watch.until_quiet(but=LONG_MEMORY)
