"""The query API over real HTTP, on SQLite and Postgres: the same answers, which are those of the views."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from consumers.serving.look import NotNow
from consumers.serving.readers import open_reader
from penstock.errors import PenstockError
from penstock.settings import Settings
from tests.consumers import builders
from tests.consumers.serving.world import DAY, HOUR, MINUTE, START, World


def at(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ms % 1000:03}Z"


def items(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def paged(client: httpx.Client, path: str) -> list[dict[str, Any]]:
    """Return all items of a list, page by page."""
    found: list[dict[str, Any]] = []
    while path:
        page = client.get(path).json()
        found += page["items"]
        path = page["next"]
    return found


def test_orders_are_as_the_view_has_them_and_a_filter_leaves_the_others_out(
    client: httpx.Client, world: World
) -> None:
    every = items(client, "/api/orders")
    rows = world.rows("SELECT order_id, status, amount_e4, placed_at_ms FROM orders ORDER BY order_id")
    shown = [(o["order_id"], o["status"], o["amount"], o["placed_at"]) for o in every]
    assert shown == [(i, s, f"{e4 / 10_000:.4f}", None if ms is None else at(ms)) for i, s, e4, ms in rows]
    ids = {
        query: [order["order_id"] for order in items(client, f"/api/orders?{query}")]
        for query in ("status=cancelled", "country=GB", "customer=c1&country=FR", f"since={at(START + 2 * MINUTE)}",
                      f"until={at(START + MINUTE)}", "country=GB%27%20OR%201=1--")
    }  # fmt: skip
    assert list(ids.values()) == [["o2", "r1"], ["o0", "o2", "o4"], ["o1"], ["o2", "o3", "o4"], ["o0"], []]


def test_an_order_comes_with_its_history_by_event_time(client: httpx.Client) -> None:
    order = client.get("/api/orders/o1").json()
    assert [(step["status"], step["at"], step["carrier"]) for step in order["history"]] == [
        ("placed", at(START + MINUTE), None),
        ("paid", at(START + 2 * MINUTE), None),
        ("shipped", at(START + 3 * MINUTE), "DHL"),
    ]
    returned = client.get("/api/orders/r1").json()
    assert (returned["placed_at"], returned["history"][0]["amount"]) == (None, "5.0000")


@pytest.mark.parametrize("path", ["/api/orders/nobody", "/api/devices/x", "/api/dead-letters/orders/2/99", "/api/no"])
def test_what_is_not_there_is_a_problem_document(client: httpx.Client, path: str) -> None:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert answer.json()["status"] == 404
    assert answer.json()["detail"]


def test_pages_are_the_whole_list_whatever_comes_meanwhile(client: httpx.Client, world: World) -> None:
    first = client.get("/api/orders?limit=2").json()
    world.settle("orders", "orders", builders.placed("a-before", START, 70), builders.placed("z-behind", START, 71))
    rest = paged(client, first["next"])
    assert [order["order_id"] for order in [*first["items"], *rest]] == ["o0", "o1", "o2", "o3", "o4", "r1", "z-behind"]


@pytest.mark.parametrize(
    "path",
    ["/api/order-metrics", "/api/order-metrics?window=hour", "/api/product-sales?window=day", "/api/telemetry-metrics",
     "/api/devices", "/api/late-events", "/api/dead-letters", "/api/product-sales", "/api/distinct-customers",
     "/api/reading-quantiles?window=hour"],
)  # fmt: skip
def test_small_pages_hold_what_a_large_one_does(client: httpx.Client, path: str) -> None:
    join = "&" if "?" in path else "?"
    whole = paged(client, f"{path}{join}limit=500")
    assert paged(client, f"{path}{join}limit=1") == paged(client, f"{path}{join}limit=3") == whole
    assert len(whole) >= 2


@pytest.mark.parametrize("window", ["minute", "hour", "day"])
def test_windows_are_the_rows_of_the_relations(client: httpx.Client, world: World, window: str) -> None:
    suffix = "" if window == "minute" else f"_by_{window}"
    asked = f"window={window}&since={at(START - DAY)}&limit=500"
    rows = world.rows(
        "SELECT window_start_ms, country, orders, revenue_e4, units, cancellations, final "
        f"FROM order_metrics{suffix} ORDER BY window_start_ms DESC, country"
    )
    found = items(client, f"/api/order-metrics?{asked}")
    shown = [(r["window_start"], r["country"], r["orders"], r["revenue"], r["units"], r["final"]) for r in found]
    assert shown == [(at(ms), c, o, f"{e4 / 10_000:.4f}", u, bool(f)) for ms, c, o, e4, u, _, f in rows]
    rows = world.rows(
        f"SELECT window_start_ms, readings, min_e6, max_e6, sum_e6, last_e6 FROM telemetry_metrics{suffix} "
        "ORDER BY window_start_ms DESC"
    )
    found = items(client, f"/api/telemetry-metrics?{asked}&sensor=CPU&device_id=d1")
    shown = [(r["window_start"], r["readings"], r["min"], r["max"], r["mean"], r["last"]) for r in found]
    want = [(at(ms), n, lo / 1e6, hi / 1e6, round(s / n / 1e6, 6), la / 1e6) for ms, n, lo, hi, s, la in rows]
    assert shown == want
    of_one = f"FROM product_sales{suffix} WHERE sku = 'sku-3' ORDER BY window_start_ms DESC"
    rows = world.rows(f"SELECT sku, units, revenue_e4 {of_one}")
    found = items(client, f"/api/product-sales?{asked}&sku=sku-3")
    assert [(r["sku"], r["units"], r["revenue"]) for r in found] == [(s, u, f"{e / 10_000:.4f}") for s, u, e in rows]


@pytest.mark.parametrize("window", ["minute", "hour", "day"])
def test_estimates_are_those_of_the_relations(client: httpx.Client, world: World, window: str) -> None:
    suffix = "" if window == "minute" else f"_by_{window}"
    asked = f"window={window}&since={at(START - DAY)}&limit=500"
    rows = world.rows(
        f"SELECT window_start_ms, readings, p50_e6, p95_e6, p99_e6, final FROM reading_quantiles{suffix} "
        "WHERE sensor = 'CPU' ORDER BY window_start_ms DESC"
    )
    found = items(client, f"/api/reading-quantiles?{asked}&sensor=CPU")
    shown = [(r["window_start"], r["readings"], r["p50"], r["p95"], r["p99"], r["final"]) for r in found]
    assert shown == [(at(ms), n, *(e6 / 1e6 for e6 in quantiles), bool(f)) for ms, n, *quantiles, f in rows]
    rows = world.rows(
        f"SELECT window_start_ms, customers, final FROM distinct_customers{suffix} ORDER BY window_start_ms DESC"
    )
    shown = [
        (r["window_start"], r["customers"], r["final"]) for r in items(client, f"/api/distinct-customers?{asked}")
    ]
    assert shown == [(at(ms), customers, bool(final)) for ms, customers, final in rows]
    assert len({customers for _, customers, _ in shown}) == len(shown) >= (5 if window == "minute" else 1)


def test_a_range_takes_the_windows_that_begin_in_it(client: httpx.Client) -> None:
    def starts(query: str) -> list[str]:
        return sorted({row["window_start"] for row in items(client, f"/api/order-metrics?{query}")})

    hour = f"since={at(START + 1)}&until={at(START + 60 * MINUTE)}"
    assert starts(hour) == [at(START + MINUTE), at(START + 59 * MINUTE)]
    assert starts(f"window=hour&since={at(START + 1)}") == [at(START + HOUR)]
    assert starts(f"window=hour&until={at(START + 1)}") == [at(START)]
    assert starts("until=1970-01-01T00:00:00Z") == []


def test_without_since_a_list_of_minutes_goes_back_a_day(client: httpx.Client, world: World) -> None:
    old = builders.order_metrics(START - 2 * DAY, 0, 9, True)
    world.settle("order_metrics", "order-metrics", old, partition=3)
    assert at(START - 2 * DAY) not in {row["window_start"] for row in items(client, "/api/order-metrics?limit=500")}
    (found,) = items(client, f"/api/order-metrics?since={at(START - 3 * DAY)}&until={at(START - DAY)}")
    assert found["window_start"] == at(START - 2 * DAY)


def test_a_device_has_its_sensors_and_its_newest_hour(client: httpx.Client) -> None:
    devices = {device["device_id"]: device for device in items(client, "/api/devices")}
    assert [sensor["sensor"] for sensor in devices["d1"]["sensors"]] == ["CPU", "TEMPERATURE"]
    assert (devices["d3"]["sensors"], devices["d3"]["battery_percent"]) == ([], 7)
    one = client.get("/api/devices/d1").json()
    assert {name: one[name] for name in devices["d1"]} == devices["d1"]
    assert [minute["window_start"] for minute in one["recent"]] == [at(START + 119 * MINUTE), at(START + 60 * MINUTE)]
    assert one["recent"][0]["mean"] == 3.5
    assert [device["device_id"] for device in items(client, "/api/devices?sensor=CPU")] == ["d1", "d2"]
    (low,) = items(client, f"/api/devices?battery_low_since={at(START)}")
    assert low["device_id"] == "d3"


def test_letters_are_listed_without_their_bytes_and_one_comes_with_them(client: httpx.Client) -> None:
    listed = items(client, "/api/dead-letters?topic=orders&partition=2")
    assert [(letter["offset"], letter["reason"], letter["value_bytes"]) for letter in listed] == [
        (4, "malformed", 2), (6, "too-large", None),
    ]  # fmt: skip
    assert "value" not in listed[0]
    letter = client.get("/api/dead-letters/orders/2/4").json()
    assert (letter["value"], letter["key"], letter["detail"]) == ("AP8=", "aw==", "why")
    assert [event["offset"] for event in items(client, "/api/late-events")] == [3, 5]
    assert client.get("/api/late-events/orders/2/3").json()["event_id"] == "e"


def test_books_say_what_each_partition_holds(client: httpx.Client) -> None:
    books = client.get("/api/books").json()
    (held,) = [row for row in books["partitions"] if (row["topic"], row["partition"]) == ("orders", 2)]
    del held["topic"], held["partition"]
    assert held == {"applied": 15, "open": 5, "late": 2, "dead": 2, "settled": 30, "read": 0,
                    "probe_sent_at": at(START + 119 * MINUTE)}  # fmt: skip
    assert (books["ok"], books["problems"]) == (True, [])


def test_books_are_not_ok_when_a_partition_holds_more_events_than_offsets(client: httpx.Client, world: World) -> None:
    world.settle("pane_counts", "order-metrics", *[
        builders.result("PaneCounted", START + 119 * MINUTE, 2, 25, True, applied=50)
    ])  # fmt: skip
    books = client.get("/api/books").json()
    assert books["ok"] is False
    assert books["problems"] == ["orders/2 holds 64 events of 30 offsets"]


def test_an_etag_saves_what_did_not_change(client: httpx.Client, world: World) -> None:
    first = client.get("/api/orders?country=FR")
    etag = first.headers["etag"]
    again = client.get("/api/orders?country=FR", headers={"if-none-match": f'"other", W/{etag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    world.settle("orders", "orders", builders.placed("new", START, 80, country="FR"))
    changed = client.get("/api/orders?country=FR", headers={"if-none-match": etag})
    assert (changed.status_code, changed.headers["etag"] != etag) == (200, True)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("limit=0", "limit"), ("limit=501", "limit"), ("limit=1&limit=2", "limit"), ("status=lost", "status"),
        ("since=yesterday", "since"), ("since=2026-01-01", "since"), ("nope=1", "nope"), ("cursor=x", "cursor"),
        ("country=", "country"), ("country=a%00b", "country"), ("cursor=WzEsMl0", "cursor"),
        ("cursor=WyJhXHUwMDAwIl0", "cursor"), ("order_id=o1", "order_id"),
    ],
)  # fmt: skip
def test_a_wrong_question_gets_400_that_names_the_parameter(client: httpx.Client, query: str, named: str) -> None:
    answer = client.get(f"/api/orders?{query}")
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert named in answer.json()["detail"]


def test_there_are_limits_on_a_request(client: httpx.Client) -> None:
    assert client.get(f"/api/orders?country={'x' * 9_000}").status_code == 414
    assert client.get(f"/api/orders/{'x' * 5_000}").status_code == 414
    refused = client.post("/api/orders", content=b"x")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    assert client.head("/api/orders").status_code == 200


def test_every_answer_has_the_security_headers(client: httpx.Client) -> None:
    for path in ("/", "/api/orders", "/api/nope", "/static/js/main.js", "/metrics", "/api/orders?limit=x"):
        headers = client.get(path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_ids_with_odd_characters_are_found(client: httpx.Client, world: World) -> None:
    name = "ö %?#&'\"x"
    world.settle("orders", "orders", builders.placed(name, START, 90))
    assert client.get(f"/api/orders/{quote(name, safe='')}").json()["order_id"] == name


def test_requests_are_counted_by_route_and_status(client: httpx.Client) -> None:
    for order in ("o1", "o2", "nobody"):
        client.get(f"/api/orders/{order}")
    client.get("/api/nowhere")
    metrics = client.get("/metrics").text
    for line in (
        'penstock_http_requests_total{route="/api/orders/{order_id}",status="200"} 2.0',
        'penstock_http_requests_total{route="/api/orders/{order_id}",status="404"} 1.0',
        'penstock_http_requests_total{route="other",status="404"} 1.0',
        "penstock_stream_clients 0.0",
        "penstock_stream_dropped_clients_total 0.0",
    ):
        assert line in metrics
    assert client.get("/live").json() == {"ok": True, "problems": {}}


def test_the_database_refuses_to_be_written(settings: Settings, world: World) -> None:
    store = open_reader(settings, 5.0)
    with pytest.raises(PenstockError), store.snapshot() as transaction:
        transaction.execute("UPDATE offsets SET next = 0")
    store.close()
    assert world.rows("SELECT max(next) FROM offsets")[0][0] > 0


def test_a_query_that_takes_too_long_is_ended(settings: Settings, world: World) -> None:
    store = open_reader(settings, 0.2)
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(NotNow, match="longer"), store.snapshot() as transaction:
        transaction.fetch(endless)
    with store.snapshot() as transaction:
        assert transaction.fetch("SELECT 1") == [(1,)]
    store.close()
