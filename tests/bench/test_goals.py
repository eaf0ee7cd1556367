"""Goals held against results, and events against the rows that count them."""

from typing import Any

import polars as pl
import pytest

from bench.goals import GOALS, PEERS, SIZE_COST, SOAK, STAGES, Goal, judge
from bench.measured import Value, quantiles
from bench.publish import made
from bench.report import Figure, document
from bench.seen import first_behind

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_gb": 8, "load_average": [1, 2, 3], "python": "3.11"}


def stages(*values: Value, figures: tuple[Figure, ...] = ()) -> dict[str, Any]:
    return document(STAGES, {}, values, figures) | {"machine": MACHINE, "at": "2026-01-02T03:04:05"}


def verdict(name: str, results: dict[str, Any], unit: str = "") -> Any:
    return next(one for one in judge(results) if one.goal.what == name and unit in one.goal.unit)


def test_a_goal_is_reached_missed_or_not_measured() -> None:
    name = "latency: event to result, p50"
    assert verdict(name, {STAGES: stages(Value(name, 59.96, "ms"))}).word == "reached"
    assert verdict(name, {STAGES: stages(Value(name, 60.1, "ms"))}).word == "MISSED"
    assert verdict(name, {STAGES: stages()}).word == "not measured"
    assert verdict(name, {}).word == "not measured"


def test_a_rate_is_found_among_the_figures() -> None:
    results = {STAGES: stages(figures=(Figure("process orders", "one metric", 1_300_000, 4, 2),))}
    assert verdict("process orders, one metric", results, "CPU").word == "reached"
    assert verdict("process orders, one metric", results, "events/s").measured == 325_000


def test_a_peer_is_compared_in_its_own_run() -> None:
    rows = [
        {"peer": "Penstock, one metric", "job": "orders", "per_cpu_second": 700, "per_second": 800},
        {"peer": "Kafka Streams", "job": "orders", "per_cpu_second": 140, "per_second": 500},
    ]
    results: dict[str, Any] = {PEERS: {"outcomes": rows}}
    assert verdict("process orders, one metric ÷ Kafka Streams", results, "CPU").found == "5 × per CPU second"
    assert verdict("process orders, one metric ÷ Kafka Streams", results, "clock").word == "MISSED"
    assert verdict("process telemetry, one metric ÷ Kafka Streams", results).word == "not measured"


@pytest.mark.parametrize("goal", GOALS, ids=str)
def test_every_goal_can_be_looked_for_where_nothing_was_measured(goal: Goal) -> None:
    empty = {STAGES: {"figures": []}, SOAK: {}, SIZE_COST: {}, PEERS: {"outcomes": []}}
    assert goal.find(empty) is None


def test_the_table_of_goals_names_what_was_missed_and_what_was_not_measured() -> None:
    table = made({STAGES: stages(Value("memory: worker with 300,000 open groups", 512.4, "MB"))})["goals"]
    assert "| memory: worker with 300,000 open groups | ≤ 400 MB | 512 MB | MISSED |" in table
    assert "| restart: kill to caught up | ≤ 10 s |  | not measured |" in table
    assert "- `make bench`: 2026-01-02, a CPU" in table


def test_single_numbers_have_tables_of_their_own() -> None:
    blocks = made({STAGES: stages(Value("idle: of it, views", 0.354, "% of a core", "over 30 s"))})
    assert "| idle: of it, views | 0.354 % of a core | over 30 s |" in blocks["live"]
    assert "soak" not in blocks


def test_quantiles_are_values_that_were_seen() -> None:
    found = {value.name: value.value for value in quantiles("x", pl.Series(range(1, 1_001)))}
    assert found["x, p50"] in (500, 501)
    assert found["x, p99"] in (990, 991)


def test_an_event_is_counted_by_the_first_row_of_its_group_behind_it() -> None:
    keys = {"source_partition": [0, 0, 0, 1], "country": ["A", "A", "B", "A"], "pane_start": [0, 0, 0, 0]}
    events = pl.DataFrame(keys | {"offset": [4, 5, 4, 4]})
    rows = pl.DataFrame(
        {
            "source_partition": [0, 0, 0, 0],
            "country": ["A", "A", "A", "B"],
            "pane_start": [0, 0, 60_000, 0],
            "next_offset": [5, 9, 6, 3],
            "seen_ms": [10.0, 20.0, 15.0, 12.0],
        }
    )
    found = first_behind(events, rows).sort("source_partition", "country", "offset")
    # The second of A waits for the next row of its own pane; B's row was sent before it; partition 1 has none.
    assert found["seen_ms"].to_list() == [10.0, 20.0, None, None]
