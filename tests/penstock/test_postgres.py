"""Connections to Postgres notice a host that vanished; DATABASE_URL may say otherwise."""

from typing import Any

import psycopg
import pytest

from consumers.postgres_store import PostgresStore
from penstock.errors import Unavailable
from penstock.postgres import KEEPALIVES, keepalives
from referee.database import Postgres

URL = "postgresql://somebody:secret@127.0.0.1:5432/penstock"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a connection was asked for; none is made."""
    asked: dict[str, Any] = {}

    def connect(url: str, **options: Any) -> None:
        asked.update(options, url=url)
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(psycopg, "connect", connect)
    return asked


def connect_as_stages_do(url: str) -> None:
    with PostgresStore(url).transaction():
        pass


@pytest.mark.parametrize("connect", [connect_as_stages_do, Postgres])
def test_every_connection_is_kept_alive(connect: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        connect(f"{URL}?sslmode=prefer")
    assert asked["url"] == f"{URL}?sslmode=prefer"
    assert asked.items() >= KEEPALIVES.items()


@pytest.mark.parametrize("connect", [connect_as_stages_do, Postgres])
def test_what_the_url_says_itself_stays(connect: Any, asked: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        connect(f"{URL}?keepalives_idle=300&tcp_user_timeout=0")
    assert not {"keepalives_idle", "tcp_user_timeout"} & asked.keys()
    assert asked["keepalives_count"] == KEEPALIVES["keepalives_count"]


def test_libpq_knows_each_of_them() -> None:
    known = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()}
    assert keepalives(URL).keys() <= known
