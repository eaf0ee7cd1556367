"""What every client of Postgres asks its connection for."""

from types import MappingProxyType
from typing import Any

from psycopg.conninfo import conninfo_to_dict

KEEPALIVES = MappingProxyType(
    {
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,
    }
)
"""A host that vanishes without a word is noticed after 25 s of silence (idle + interval × count), or 30 s (in ms) in
which nothing that was sent is acknowledged. A server that computes for long is not meant: its kernel answers."""


def keepalives(url: str) -> dict[str, Any]:
    """Return those of :data:`KEEPALIVES` of which ``url`` says nothing itself, as arguments of ``psycopg.connect``.

    Raises :class:`psycopg.ProgrammingError` for a URL that is none.
    """
    said = conninfo_to_dict(url)
    return {name: value for name, value in KEEPALIVES.items() if name not in said}
