"""`penstock rebuild` on real parts, while events come and the views are kept; proved after each swap."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from penstock.errors import ExitCode
from testbed.pipeline import REPOSITORY, Parts, Pipeline, Stage
from tests.end_to_end.conftest import DatabaseKind

pytestmark = [pytest.mark.real, pytest.mark.slow]

PATIENCE_S = 120.0


def with_other_sql(folder: Path) -> str:
    """Copy the program, with a rule of the orders' view that is written otherwise and means the same."""
    for package in ("penstock", "consumers", "avro_schemas"):
        shutil.copytree(REPOSITORY / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    file = folder / "consumers" / "views" / "orders.sql"
    text, place = file.read_text(), "SELECT order_id, occurred_at, event_id, customer_id,"
    assert place in text
    file.write_text(text.replace(place, "SELECT order_id, occurred_at, event_id, coalesce(customer_id, NULL),"))
    return str(folder)


def merged(pipeline: Pipeline, version: int) -> int:
    query = f"SELECT coalesce(sum(next), 0) FROM offsets WHERE view = 'orders' AND version = {version}"
    return int(pipeline.row(query)[0])


def await_growth(pipeline: Pipeline, stage: Stage, version: int) -> None:
    """Wait until the stage merges into the tables of ``version``."""
    before = merged(pipeline, version)
    stage.until(lambda: merged(pipeline, version) > before, f"version {version} grows", PATIENCE_S)


@pytest.mark.timeout(900)  # half a minute, or many on a machine that is busy
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_view_is_rebuilt_swapped_and_rolled_back_while_events_come(
    parts: Parts, new_database: Callable[[DatabaseKind, str], str], kind: DatabaseKind, tmp_path: Path
) -> None:
    other = with_other_sql(tmp_path / "other")
    with Pipeline(parts, tmp_path / "run", new_database(kind, f"rebuild_{kind}")).create_topics() as pipeline:
        pipeline.start_processors()
        stage = pipeline.start_views().until_ready(PATIENCE_S)
        truth = pipeline.folder / "truth.json"
        producer = pipeline.start("producer", "produce", "all", "--rate", "100", "--truth", truth)
        await_growth(pipeline, stage, 1)
        for view in ("orders", "order_metrics"):
            done = json.loads(pipeline.run("rebuild", view, "--yes", "--json").stdout)
            assert (done["equal"], done["swapped"], done["other_rules"]) == (True, True, False)
        await_growth(pipeline, stage, 10_001)
        pipeline.verify()

        done = json.loads(pipeline.run("rebuild", "orders", "--yes", "--json", PYTHONPATH=other).stdout)
        assert (done["equal"], done["other_rules"], done["new"]) == (True, True, "v1_r2")
        assert stage.until_ended(PATIENCE_S) == ExitCode.STOPPED
        assert "to other SQL than this program's" in stage.log
        stage = pipeline.start("views", "materialize", PYTHONPATH=other)
        await_growth(pipeline, stage, 20_001)
        pipeline.verify()

        assert "v1_r1 again" in pipeline.run("rebuild", "orders", "--rollback", PYTHONPATH=other).stdout
        assert stage.until_ended(PATIENCE_S) == ExitCode.STOPPED
        stage = pipeline.start_views()
        await_growth(pipeline, stage, 10_001)
        producer.child.send(signal.SIGTERM)
        assert producer.until_ended(PATIENCE_S) == ExitCode.OK
        del pipeline.stages["producer"]
        pipeline.count(truth)
        pipeline.prove()
        assert merged(pipeline, 20_001) < merged(pipeline, 10_001)
