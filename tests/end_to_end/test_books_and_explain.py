"""`penstock books` and `penstock explain` as a user runs them, beside the whole pipeline on real parts."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from testbed.pipeline import Parts, Pipeline

pytestmark = pytest.mark.slow

FAULTS = ("--disorder", "3s", "--duplicates", "5%", "--late", "5%", "--poison", "2%")


def explained(pipeline: Pipeline, *arguments: str, expect: int = 0) -> dict[str, Any]:
    """Run ``explain --json`` and return its document."""
    document: dict[str, Any] = json.loads(pipeline.run("explain", *arguments, "--json", expect=expect).stdout)
    assert document["equal"] == (expect == 0)
    return document


def test_a_wrong_row_is_named_by_verify_and_explained_by_its_events(parts: Parts, tmp_path: Path) -> None:
    with Pipeline(parts, tmp_path / "run") as pipeline:
        pipeline.create_topics()
        pipeline.start_processors(2)
        pipeline.start_views()
        pipeline.send("produce", "all", "--rate", "400", "--count", "3000", "--seed", "11", *FAULTS)
        running = json.loads(pipeline.run("books", "--json").stdout)
        assert running["balanced"]
        pipeline.settle()

        said = pipeline.run("books", "--truth", pipeline.folder / "truth-1.json").stdout
        assert "BALANCED; nothing in flight" in said
        books = json.loads(pipeline.run("books", "--json", "--truth", pipeline.folder / "truth-1.json").stdout)
        for topic in books["topics"].values():
            assert topic["records"] == topic["truth"]["acknowledged"]
            assert topic["fates"] == topic["truth"]["fates"]
        assert all(page["views"]["early_gap"] == 0 for page in books["partitions"])

        window, country, orders = pipeline.row(
            "SELECT window_start, country, orders FROM order_metrics WHERE final ORDER BY orders DESC, 1, 2 LIMIT 1"
        )
        question = ("order_metrics", "--key", f"country={country}", "--window", window)
        right = explained(pipeline, *question)
        applied = [event for event in right["events"] if event["fate"] == "applied"]
        assert sum(event["gives"].get("orders", 0) for event in applied) == orders

        with sqlite3.connect(pipeline.folder / "views.db", timeout=30.0) as database:
            place = database.execute(
                "SELECT window_start, source_partition FROM order_metrics_v1 WHERE country = ? AND orders > 0 LIMIT 1",
                (country,),
            ).fetchone()
            damage = "UPDATE order_metrics_v1 SET orders = orders + 1 WHERE country = ? AND window_start = ?"
            damage += " AND source_partition = ?"
            assert database.execute(damage, (country, *place)).rowcount == 1
        database.close()
        (difference,) = pipeline.verify(expect=1)["differences"]
        assert difference["column"] == "orders"
        named = [word for pair in difference["key"].split(" ") if "=" in pair for word in ("--key", pair)]
        assert f"country={country.split(' ')[0]}" in named
        keys = ("--key", f"country={country}", "--key", f"source_partition={place[1]}", "--window", str(place[0]))
        wrong = explained(pipeline, "order_metrics", *keys, expect=1)
        (line,) = [line for line in wrong["lines"] if not line["equal"]]
        assert (line["column"], line["in_view"]) == ("orders", line["by_log"] + 1)
        assert str(line["by_log"]) == difference["by_log"]
        assert sum(event["gives"].get("orders", 0) for event in wrong["events"] if event["fate"] == "applied") == (
            line["by_log"]
        )


def test_letters_that_are_lost_unbalance_the_books_and_the_gauge_says_so(parts: Parts, tmp_path: Path) -> None:
    with Pipeline(parts, tmp_path / "run") as pipeline:
        pipeline.create_topics()
        pipeline.start_processors(1)
        views = pipeline.start_views()
        pipeline.send("produce", "orders", "--rate", "400", "--count", "1000", "--seed", "12", *FAULTS)
        pipeline.settle()
        pipeline.run("books")  # waits until the views have what the processors have committed

        def kept(fate: str) -> float:
            found = [value for name, labels, value in views.metrics()
                     if name == "penstock_books_view_events" and labels["fate"] == fate]  # fmt: skip
            return sum(found)

        (late,) = pipeline.row("SELECT count(*) FROM late_events")
        (applied,) = pipeline.row("SELECT sum(applied) FROM pane_counts")
        assert late > 0
        views.until(lambda: (kept("late"), kept("applied")) == (late, applied), "the gauge shows what the views hold")
        with sqlite3.connect(pipeline.folder / "views.db", timeout=30.0) as database:
            lost = "DELETE FROM late_events_v1 WHERE source_offset IN (SELECT min(source_offset) FROM late_events_v1)"
            count = database.execute(lost).rowcount
        database.close()
        done = pipeline.run("books", expect=1)
        assert "NOT BALANCED" in done.stdout
        assert "late events by key, the frontier counts" in done.stdout
        views.until(lambda: kept("late") == late - count, "the gauge shows that a letter is gone")
