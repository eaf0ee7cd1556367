"""The stream over a real socket: what comes, how often, who goes on, who is cut, and what memory does."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest

from bench.sse_clients import run_clients, slow_reader
from consumers.serving.patches import patched
from consumers.serving.run import Server, serving
from consumers.serving.sections import SECTIONS
from penstock.settings import Settings
from tests.consumers import builders
from tests.consumers.serving.world import MINUTE, START, World

PATIENCE_S = 60.0


class Reader:
    """One reader, which keeps the state as the page does."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.state: dict[str, Any] = {}
        self.last_id = ""
        self.times: list[int] = []
        """When the server sent the deltas."""

    def event(self) -> str:
        """Wait for the next event, apply it, and return its name."""
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and "event" in fields:
                break
            name, _, value = line.partition(": ")
            fields[name] = value
        data = json.loads(fields["data"])
        self.last_id = fields.get("id", self.last_id)
        if fields["event"] == "snapshot":
            self.state = data["state"]
        elif fields["event"] == "delta":
            self.state = patched(self.state, data["patch"])
            self.times.append(data["now"])
        return fields["event"]

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> None:
        """Read on until the state is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition(self.state):
            assert time.monotonic() < deadline, self.state
            self.event()


@contextmanager
def reading(server: Server, last_id: str = "") -> Iterator[Reader]:
    headers = {"last-event-id": last_id} if last_id else {}
    with httpx.stream("GET", f"{server.address}/api/stream", headers=headers, timeout=PATIENCE_S) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        yield Reader(response)


def whole(state: dict[str, Any]) -> bool:
    """Whether the server has read all of the database yet."""
    return set(state) == {section.name for section in SECTIONS}


def placed(world: World, number: int) -> None:
    world.settle("orders", "orders", builders.placed(f"n{number}", START, 1_000 + number))


def test_a_snapshot_shows_what_the_views_hold(server: Server, world: World) -> None:
    with reading(server) as reader:
        assert reader.event() == "snapshot"
        reader.until(whole)
    state = reader.state
    ((orders, revenue_e4, units),) = world.rows("SELECT sum(orders), sum(revenue_e4), sum(units) FROM order_metrics")
    assert [state["today"][name] for name in ("orders", "revenue_e4", "units")] == [orders, revenue_e4, units]
    assert state["today"]["countries"][0][1:] == [orders // 2, revenue_e4 // 2]
    newest = START + 119 * MINUTE
    assert state["minutes"] == {str(START + 60 * MINUTE): [16, 400_000, 4, 1], str(newest): [20, 500_000, 4, 0]}
    assert [row[0] for row in state["products"]["top"]] == [f"sku-{n}" for n in range(11, 1, -1)]
    assert state["statuses"] == {"cancelled": 2, "placed": 3, "shipped": 1}
    devices = state["devices"]
    assert (devices["all"], devices["silent"], devices["low"]) == (2, 1, 1)
    assert list(devices["shown"]) == ["d1", "d2", "d3"]
    assert devices["points"] == {"d1/CPU": {str(newest): 3.5}}
    assert state["books"]["partitions"]["orders/2"]["settled"] == 30


def test_deltas_follow_the_database_and_come_at_most_four_times_a_second(server: Server, world: World) -> None:
    with reading(server) as reader:
        reader.until(whole)
        for number in range(8):
            placed(world, number)
        reader.until(lambda state: state["statuses"]["placed"] == 11)
        for number in range(8, 14):
            placed(world, number)
            reader.until(lambda state, number=number: state["statuses"]["placed"] == 4 + number)
        steps = [later - earlier for earlier, later in pairwise(reader.times)]
        assert len(steps) >= 5
        assert min(steps) >= 240, steps  # milliseconds; clocks are read a moment apart


def test_who_reconnects_with_the_last_id_gets_deltas_only(server: Server, world: World) -> None:
    with reading(server) as watcher:
        watcher.until(whole)
        with reading(server) as reader:
            reader.until(whole)
        placed(world, 1)
        watcher.until(lambda state: state["statuses"]["placed"] == 4)
        with reading(server, reader.last_id) as again:
            again.state = reader.state
            assert again.event() == "delta"
            again.until(lambda state: state["statuses"]["placed"] == 4)
            assert again.last_id == watcher.last_id


def test_after_a_restart_of_the_server_a_snapshot_comes(settings: Settings, server: Server, world: World) -> None:
    with reading(server) as reader:
        reader.event()
    with serving(settings.model_copy(update={"serve_port": 0})) as other, reading(other, reader.last_id) as again:
        assert again.event() == "snapshot"


def test_a_database_that_is_not_there_is_told_and_comes_back(settings: Settings, connect: Any) -> None:
    with serving(settings.model_copy(update={"serve_port": 0})) as server:
        with reading(server) as reader:
            reader.until(lambda state: "materialize" in state.get("trouble", ""))
            answer = httpx.get(f"{server.address}/api/orders")
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            assert httpx.get(f"{server.address}/ready").status_code == 503
            assert httpx.get(f"{server.address}/live").status_code == 200
            World(connect()).fill()
            reader.until(lambda state: "trouble" not in state and "today" in state)
        assert httpx.get(f"{server.address}/ready").status_code == 200


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_many_readers_lose_nothing_and_only_the_slow_are_cut(server: Server, world: World) -> None:
    """A short version of `python -m bench.sse_clients`."""

    def step(number: int) -> None:
        """Change much: frames that the buffers of a socket do not hold for long."""
        at = START + 119 * MINUTE + number
        names = [f"d{device:03}{'x' * 900}" for device in range(60)]
        world.settle("devices", "telemetry", *(builders.reading(name, "CPU", at, float(number)) for name in names))

    step(0)
    with closing(slow_reader(server.address)):
        report = asyncio.run(run_clients(server.address, 100, 6.0, lambda number: step(number + 1)))
        deadline, number = time.monotonic() + PATIENCE_S, 1_000
        while "penstock_stream_dropped_clients_total 1.0" not in httpx.get(f"{server.address}/metrics").text:
            assert time.monotonic() < deadline, "the slow reader was not cut"
            step(number)
            number += 1
    assert (report.connected, report.lost, report.gaps) == (100, 0, 0)
    assert report.frames >= 100 * 2
    assert report.most_per_second <= 5  # 4, and one that came late and met the next
