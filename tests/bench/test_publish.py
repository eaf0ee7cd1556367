"""The tables and the plot out of raw results."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from bench.peers.judge import Verdict
from bench.peers.outcome import Outcome, middle, ratios
from bench.publish import PublishError, load, made, main, put
from bench.report import Figure

MACHINE = {"cpu": "a CPU", "cores": 2, "memory_gb": 8, "load_average": [1, 2, 3], "python": "3.11"}
RIGHT = Verdict(right=10, wrong=0, missing=0, open=0, counted=100, due=100)
WRONG = Verdict(right=4, wrong=6, missing=0, open=0, counted=38, due=100)


def outcome(peer: str, verdict: Verdict, cpu_s: float, told: str = "") -> Outcome:
    figure = Figure("process orders", peer, 1_000, cpu_s / 2, cpu_s, 250)
    return Outcome(peer, "1.2", "orders", figure, verdict, "as documented", told)


def peers(*outcomes: Outcome, at: str = "2026-01-02T03:04:05") -> dict[str, Any]:
    rows = [one.as_json() for one in outcomes]
    return {"kind": "peers", "at": at, "machine": MACHINE, "outcomes": rows, "failures": []}


BOTH = peers(outcome("A & B", WRONG, 2, "620 dropped"), outcome("Penstock, one metric", RIGHT, 1))


def test_the_fastest_stands_first_and_wrong_answers_are_named() -> None:
    table = made({"peers": BOTH})["peers"]
    first, second = (line for line in table.splitlines() if line.startswith("|") and "1.2" in line)
    assert first == "| Penstock, one metric (1.2) | 1,000 | 2,000 | 1,000 | 250 | all 10 right |"
    assert "6 of 10 wrong; 38% of the events counted (it says: 620 dropped)" in second


def test_the_summary_has_a_line_a_system_and_says_how_wrong_it_was() -> None:
    lines = made({"peers": BOTH})["summary"].splitlines()
    assert lines[2:4] == [
        "| Penstock, one metric | 1,000 |  | right |  |",
        "| A & B | 500 |  | 60% of the answers wrong or missing |  |",
    ]


def test_a_peer_whose_windows_are_all_open_is_not_called_right() -> None:
    waiting = Verdict(right=0, wrong=0, missing=0, open=10, counted=0, due=0)
    assert "nothing to judge" in made({"peers": peers(outcome("A", waiting, 1))})["summary"]


def test_the_plot_is_well_formed_and_has_a_bar_for_each() -> None:
    plot = ET.fromstring(made({"peers": BOTH})["plot"])
    bars = plot.findall("{http://www.w3.org/2000/svg}rect")[1:]
    widths = [float(bar.attrib["width"]) for bar in bars]
    assert widths[0] == pytest.approx(2 * widths[1])
    assert bars[0].attrib["fill"] != bars[1].attrib["fill"]


def test_the_newest_result_of_a_kind_counts(tmp_path: Path) -> None:
    for name, at in (("a", "2026-01-03T00:00:00"), ("b", "2026-01-01T00:00:00")):
        (tmp_path / f"{name}.json").write_text(json.dumps(peers(at=at)))
    assert load(tmp_path)["peers"]["at"] == "2026-01-03T00:00:00"


def test_without_results_it_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="make bench"):
        load(tmp_path)


def test_a_block_goes_between_its_marks_and_nowhere_else() -> None:
    text = "one\n<!-- bench:peers -->\nold\n<!-- /bench:peers -->\ntwo\n"
    done = put(text, "peers", "new\n")
    assert done == "one\n<!-- bench:peers -->\nnew\n<!-- /bench:peers -->\ntwo\n"
    assert put(done, "peers", "new\n") == done
    assert put(text, "stages", "new\n") == text


def test_a_mark_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(PublishError, match="never closed"):
        put("<!-- bench:peers -->\n", "peers", "new\n")


def test_the_command_writes_pages_and_plot(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "peers.json").write_text(json.dumps(BOTH))
    page, plot = tmp_path / "page.md", tmp_path / "docs" / "plot.svg"
    page.write_text("<!-- bench:peers --><!-- /bench:peers -->")
    where = ["--results", str(tmp_path / "results"), "--pages", str(page), "--plot", str(plot)]
    assert main(["report", "--write", *where]) == 0
    assert "A & B" in page.read_text()
    assert "A &amp; B" in plot.read_text()


def test_the_middle_run_counts_and_ours_is_compared_with_each_other_one() -> None:
    runs = [outcome("A", RIGHT, cpu_s) for cpu_s in (4, 1, 2)]
    assert middle(runs).figure.cpu_s == 2
    assert ratios([middle(runs), outcome("ours", RIGHT, 0.5)], "ours")[0]["per_cpu_second"] == 4.0
