"""The HTTP server of a stage gives away nothing, takes nothing, and can't be held up by a few clients."""

import socket
from collections.abc import Iterator
from itertools import product
from urllib.parse import urlsplit

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from penstock.health import Health
from penstock.http import HEADERS, MAX_CONNECTIONS, MAX_HEAD_BYTES, serve_http
from penstock.settings import load_settings

PATHS = ("/metrics", "/live", "/ready")


class Broken(Collector):
    """Figures that can't be had."""

    def collect(self) -> Iterator[GaugeMetricFamily]:
        raise RuntimeError("hunter2 at /home/somebody/figures.py")


@pytest.fixture
def health() -> Health:
    found = Health()
    found.started()
    return found


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def client(health: Health, registry: CollectorRegistry) -> Iterator[httpx.Client]:
    with (
        serve_http("processors", load_settings(http_port=0), health, registry) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=10) as opened,
    ):
        yield opened


def test_every_answer_carries_the_security_headers_and_no_name_of_the_server(client: httpx.Client) -> None:
    for path in (*PATHS, "/", "/docs", "/nowhere"):
        answer = client.get(path)
        assert answer.status_code == (200 if path in PATHS else 404)
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "server" not in answer.headers


def test_only_get_and_head_are_taken(client: httpx.Client) -> None:
    for path, method in product(PATHS, ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")):
        answer = client.request(method, path)
        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD"}
    for path in PATHS:
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")


def test_a_failure_says_that_there_was_one_and_nothing_else(client: httpx.Client, registry: CollectorRegistry) -> None:
    client.get("/metrics").raise_for_status()
    registry.register(Broken())
    answer = client.get("/metrics")
    assert answer.status_code == 500
    assert answer.text == "Internal Server Error"
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert client.get("/live").status_code == 200


def test_a_request_with_an_endless_head_is_cut_off(client: httpx.Client) -> None:
    with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)) as cut:
        client.get("/live", headers={"x": "y" * 10 * MAX_HEAD_BYTES}).raise_for_status()
    assert cut.value is not None


def test_more_connections_than_the_limit_are_turned_away_and_the_next_is_served(client: httpx.Client) -> None:
    where = urlsplit(str(client.base_url))
    address = (where.hostname, where.port)
    held = [socket.create_connection(address, timeout=10) for _ in range(MAX_CONNECTIONS + 5)]
    try:
        assert client.get("/live").status_code == 503
    finally:
        for connection in held:
            connection.close()
    for _ in range(100):
        if client.get("/live").status_code == 200:
            return
    raise AssertionError("it never serves again")
