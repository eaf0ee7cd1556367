"""The proxy: what a client sees in each mode, on real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import httpx
import psycopg
import pytest

from testbed.postgres import Postgres
from testbed.postgres_wire import ClientMessages, is_commit
from testbed.processes import LOOPBACK, is_listening, wait_until
from testbed.proxy import PostgresProxy, Proxy

START_UP = b"\x00\x00\x00\x08\x00\x03\x00\x00"
TLS_QUESTION = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


def simple(query: str) -> bytes:
    body = query.encode() + b"\0"
    return b"Q" + (len(body) + 4).to_bytes(4, "big") + body


class Echo:
    """Sends back what it gets, in capitals."""

    def __init__(self) -> None:
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client:
            while data := client.recv(100):
                client.sendall(data.upper())

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    with closing(Echo()) as server:
        yield server


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(echo.port) as proxy:
        yield proxy


def connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection((LOOPBACK, proxy.port), timeout=10.0)


def ask(client: socket.socket, word: bytes) -> bytes:
    client.sendall(word)
    return client.recv(100)


def test_it_passes_bytes_both_ways(proxy: Proxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert (ask(one, b"one"), ask(other, b"other"), ask(one, b"more")) == (b"ONE", b"OTHER", b"MORE")


def test_refusing_it_does_not_listen_and_cuts_who_was_there(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert ask(client, b"one") == b"ONE"
        proxy.switch("refuse")
        assert client.recv(100) == b""
    assert not is_listening(proxy.port)
    proxy.switch("pass")
    with connect(proxy) as client:
        assert ask(client, b"again") == b"AGAIN"


def test_hanging_it_answers_nobody_and_what_it_held_goes_on_later(proxy: Proxy) -> None:
    with connect(proxy) as before:
        assert ask(before, b"one") == b"ONE"
        proxy.switch("hang")
        with connect(proxy) as new:
            for client in (before, new):
                client.sendall(b"held")
                client.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    client.recv(100)
                client.settimeout(10.0)
            proxy.switch("pass")
            assert [client.recv(100) for client in (before, new)] == [b"HELD", b"HELD"]


def test_a_cut_ends_what_is_there_even_while_it_hangs_and_nothing_else(proxy: Proxy) -> None:
    with connect(proxy) as client:
        assert ask(client, b"one") == b"ONE"
        proxy.switch("hang")
        client.sendall(b"held")
        assert proxy.cut() == 1
        assert client.recv(100) == b""
    proxy.switch("pass")
    with connect(proxy) as client:
        assert ask(client, b"new") == b"NEW"


def test_in_error_each_request_is_answered_with_500_and_then_all_is_well_again(proxy: Proxy) -> None:
    with httpx.Client(base_url=f"http://{LOOPBACK}:{proxy.port}", trust_env=False) as client:
        proxy.switch("error")
        assert client.get("/subjects").status_code == 500
        assert client.post("/subjects", content=b"x" * 300_000).status_code == 500
    proxy.switch("pass")
    with connect(proxy) as plain:
        assert ask(plain, b"one") == b"ONE"


def test_a_target_that_is_down_closes_the_connection(echo: Echo, proxy: Proxy) -> None:
    echo.close()
    with connect(proxy) as client:
        assert client.recv(100) == b""


def test_an_answer_can_be_delayed(proxy: Proxy) -> None:
    proxy.delay_s = 0.5
    with connect(proxy) as client:
        client.sendall(b"one")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        client.settimeout(10.0)
        assert client.recv(100) == b"ONE"


@pytest.mark.parametrize("piece", [1, 3, 1_000])
def test_client_messages_are_found_whatever_the_pieces_are(piece: int) -> None:
    said = [TLS_QUESTION, START_UP, simple("SELECT 'COMMIT'"), simple("COMMIT")]
    stream, messages = b"".join(said), ClientMessages()
    found = [m for at in range(0, len(stream), piece) for m in messages.feed(stream[at : at + piece])]
    assert found == said
    assert [is_commit(message) for message in found[2:]] == [False, True]


def test_a_commit_is_one_in_any_case_and_also_when_it_is_parsed() -> None:
    parse = b"name\0commit;\0\0\0"
    assert is_commit(simple(" commit; "))
    assert is_commit(b"P" + (len(parse) + 4).to_bytes(4, "big") + parse)
    assert not is_commit(simple("ROLLBACK"))
    assert not is_commit(b"X\x00\x00\x00\x04")


def test_a_commit_whose_reply_is_lost_has_happened_and_the_client_sees_a_broken_connection(postgres: Postgres) -> None:
    url = postgres.create_database("reply_lost")
    with PostgresProxy(postgres.port) as proxy, psycopg.connect(url) as direct:
        direct.execute("CREATE TABLE kept (number int)")
        direct.commit()
        through = url.replace(f":{postgres.port}/", f":{proxy.port}/")
        with psycopg.connect(through, autocommit=True) as client:
            with client.transaction():
                client.execute("INSERT INTO kept VALUES (1)")
            proxy.cut_at_commit()
            with pytest.raises(psycopg.OperationalError), client.transaction():
                client.execute("INSERT INTO kept VALUES (2)")
        assert proxy.commits_cut == 1
        assert direct.execute("SELECT number FROM kept ORDER BY 1").fetchall() == [(1,), (2,)]
        with psycopg.connect(through, autocommit=True) as client, client.transaction():
            client.execute("INSERT INTO kept VALUES (3)")
        direct.commit()
        wait_until(lambda: direct.execute("SELECT count(*) FROM kept").fetchone() == (3,), 10, "the third row")
