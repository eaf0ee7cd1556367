"""Every panel of every dashboard has an answer from a real Prometheus that has scraped the real pipeline."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from infra.grafana.queries import Asked, queries
from penstock.demo.broker import embedded_broker
from testbed.part import Part
from testbed.pipeline import Parts, Pipeline
from testbed.processes import wait_until
from testbed.prometheus import Prometheus, scrape_config

RULES = Path(__file__).parents[2] / "infra" / "prometheus" / "rules"
ANSWERED_TIMEOUT_S = 400.0
FAULTS = ("--disorder", "3s", "--duplicates", "3%", "--late", "3%", "--poison", "1%", "--no-close", "--seed", "7")
JOBS = {
    "producers": ("orders", "telemetry"),
    "processors": ("processor-1", "processor-2"),
    "consumers": ("views",),
    "referee": ("verify",),
}


def rule_files() -> dict[str, str]:
    return {path.name: path.read_text() for path in RULES.glob("*.yml")}


@pytest.fixture
def pipeline(tmp_path: Path) -> Iterator[Pipeline]:
    with (
        embedded_broker() as bootstrap,
        Pipeline(Parts(bootstrap, ""), tmp_path, PENSTOCK_EMBEDDED="true", PENSTOCK_RUN_ID="dashboards") as pipeline,
    ):
        for topic in ("orders", "telemetry"):
            pipeline.start(topic, "produce", topic, "--rate", "50", *FAULTS).until_ready()
        pipeline.start_processors(2)
        pipeline.start_views()
        pipeline.start("verify", "verify", "--every", "3s")
        yield pipeline


def is_empty(prometheus: Prometheus, asked: Asked) -> bool:
    """Ask; a wrong query raises ValueError with Prometheus' words."""
    return not [series for series in prometheus.query(asked.expression) if not math.isnan(series.value)]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.real
def test_every_panel_has_an_answer(pipeline: Pipeline, start_part: Callable[[Part], None]) -> None:
    jobs = {
        job: [pipeline.stages[name].url.removeprefix("http://") for name in names] for job, names in JOBS.items()
    }
    rules = rule_files()
    prometheus = Prometheus(scrape_config(jobs, every_s=1.0, rules=list(rules)), rules)
    start_part(prometheus)
    with prometheus:
        open_queries = queries()

        def all_answered() -> bool:
            for stage in pipeline.stages.values():
                assert stage.child.running, f"{stage.name} ended:\n{stage.log}"
            open_queries[:] = [asked for asked in open_queries if is_empty(prometheus, asked)]
            return not open_queries

        try:
            wait_until(all_answered, ANSWERED_TIMEOUT_S, "every query has an answer", every=1.0)
        except TimeoutError:
            pytest.fail("no answer:\n" + "\n".join(f"{asked.place}: {asked.expression}" for asked in open_queries))
