"""View files: what is written in them is what is meant, and a slip is named."""

import pytest

from consumers.view_files import choose_views, load_views, parse_view
from penstock.avro_columns import column_name
from penstock.contracts import contracts_of, load_contracts
from penstock.errors import ExitCode, PenstockError, UsageError
from tests.consumers.builders import views

TOY = """--: view trips
--: about One row a trip.
--: reads orders
-- A comment.
--: table trips
CREATE TABLE {trips} (trip {text})
--: merge TripEnded
--: key trip
--: newest ended_at
--: stage trip {text},
--: stage ended_at BIGINT
INSERT INTO {trips} SELECT trip FROM {staging};
--: read trips
-- Not part of it.
SELECT trip FROM {trips}
--: gauge toy_trips city, line : Trips by city and line.
SELECT city, line, count(*) FROM {trips}
"""


def test_a_view_file_is_read_as_it_is_written() -> None:
    view = parse_view(TOY, "trips.sql")
    assert view.about == "One row a trip."
    merge = view.merges["TripEnded"]
    assert (merge.key, merge.newest) == (("trip",), ("ended_at",))
    assert dict(merge.columns) == {"trip": "{text}", "ended_at": "BIGINT"}
    assert merge.sql == "INSERT INTO {trips} SELECT trip FROM {staging}"
    assert view.reads == {"trips": "SELECT trip FROM {trips}"}
    assert [(f.name, f.labels, f.help) for f in view.figures] == [
        ("toy_trips", ("city", "line"), "Trips by city and line.")
    ]


def test_windows_are_one_select_by_minute_hour_and_day() -> None:
    text = "--: windows trips\nSELECT {utc span}, count(*) FROM (SELECT {span} AS span FROM {trips}) AS t GROUP BY 1"
    view = parse_view(TOY.replace("--: read trips\n-- Not part of it.\nSELECT trip FROM {trips}", text), "trips.sql")
    by = text.partition("\n")[2].replace("{span}", "window_start - window_start % @")
    lengths = {"trips": "60000", "trips_by_hour": "3600000", "trips_by_day": "86400000"}
    assert view.reads == {name: by.replace("@", length) for name, length in lengths.items()}


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("--: view trips", "--: view tramps", "--: view trips"),
        ("--: reads orders", "--: reads orders trams", "trams"),
        ("--: reads orders", "", "reads"),
        ("--: key trip", "--: key tram", "trips.sql:7"),
        ("--: newest ended_at", "--: latest ended_at", "trips.sql:9: `--: latest`"),
        ("--: table trips", "--: tabel trips", "trips.sql:5"),
        ("toy_trips city, line :", "toy_trips city, line", "trips.sql:16"),
        ("--: read trips", "", "--: read"),
        ("--: about One row a trip.", "SELECT 1", "trips.sql:2"),
    ],
)
def test_a_slip_in_a_view_file_is_named(old: str, new: str, named: str) -> None:
    with pytest.raises(PenstockError, match=r"trips\.sql") as caught:
        parse_view(TOY.replace(old, new), "trips.sql")
    assert named in str(caught.value)


def test_what_decides_the_rows_changes_the_digest_and_a_comment_does_not() -> None:
    view = parse_view(TOY, "trips.sql")
    assert parse_view(TOY.replace("-- A comment.", "-- Another."), "trips.sql").rules == view.rules
    assert parse_view(TOY.replace("SELECT trip FROM {staging}", "SELECT 1"), "trips.sql").rules != view.rules
    shown = parse_view(TOY.replace("SELECT trip FROM {trips}", "SELECT 2"), "trips.sql")
    assert (shown.rules, shown.shown == view.shown) == (view.rules, False)


def test_the_relations_of_the_contract_with_the_user_are_there() -> None:
    names = {name for view in load_views().values() for name in view.reads}
    metrics = ("order_metrics", "product_sales", "telemetry_metrics", "reading_quantiles", "distinct_customers")
    spans = {f"{metric}{span}" for metric in metrics for span in ("", "_by_hour", "_by_day")}
    assert names == {"orders", "devices", "pane_counts", "late_events", "dead_letters", "freshness", *spans}


@pytest.mark.parametrize("name", sorted(load_views()))
def test_a_view_stages_only_columns_that_the_codec_makes(name: str) -> None:
    view, contracts = views()[name], load_contracts()
    for topic in view.topics:
        carried = contracts_of(topic, contracts)
        for merge in view.merges.values():
            fields = carried[merge.record].schema["fields"]
            known = {column_name(field) for field in fields if "items" not in str(field["type"])}
            assert merge.columns.keys() <= known | ({"source_topic"} if topic.role == "results" else set())


def test_an_unknown_view_is_a_usage_error_that_lists_the_views() -> None:
    with pytest.raises(UsageError, match=r"no view 'ordres'.*dead_letters, devices.*orders") as caught:
        choose_views(load_views(), ["ordres"])
    assert caught.value.exit_code == ExitCode.USAGE


def test_without_names_all_views_are_chosen() -> None:
    assert [view.name for view in choose_views(load_views(), [])] == sorted(load_views())
    assert [view.name for view in choose_views(load_views(), ["orders", "orders"])] == ["orders"]
