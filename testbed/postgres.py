"""A real PostgreSQL: the newest one that is installed, on a cluster made for the occasion."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psycopg
from psycopg import sql

from testbed.part import Part, PartName
from testbed.processes import LOOPBACK, PartError, PartUnavailableError, free_port, is_listening

BINARIES = Path("/usr/lib/postgresql")
SYSTEM_USER = "postgres"
INITDB_TIMEOUT_SECONDS = 60.0


class Postgres(Part):
    """PostgreSQL on 127.0.0.1, no password, no Unix socket; as root it runs as the user `postgres`.

    What was committed survives `kill`, but not a crash of the machine: `fsync` is off.
    """

    name: ClassVar[PartName] = "postgres"
    # SIGTERM would wait for all clients to leave; SIGINT ends their sessions.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @classmethod
    def missing(cls) -> str | None:
        """Why Postgres can't be started here (no binaries, no user to run as), and how to get it; or None."""
        if _binaries() is None:
            return (
                f"PostgreSQL: no initdb and postgres in {BINARIES}/*/bin nor in PATH."
                " Install it (Debian: apt-get install postgresql)"
            )
        if os.geteuid() == 0 and not _user_exists(SYSTEM_USER):
            return (
                f"PostgreSQL refuses to run as root, and there is no system user {SYSTEM_USER!r} to run as."
                f" Add it (useradd --system {SYSTEM_USER}), or don't run as root"
            )
        return None

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, as its superuser: `postgresql://postgres@127.0.0.1:PORT/postgres`."""
        return self._url_of("postgres")

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL; psycopg.errors.DuplicateDatabase if it is there."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url_of(name)

    def _url_of(self, database: str) -> str:
        return f"postgresql://postgres@{LOOPBACK}:{self.port}/{quote(database, safe='')}"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _user(self) -> str | None:
        return SYSTEM_USER if os.geteuid() == 0 else None

    def _prepare(self) -> None:
        user = self._user()
        self._data.mkdir(mode=0o700)
        if user is not None:
            shutil.chown(self._data, user, user)
        done = subprocess.run(
            [
                *(_binary("initdb"), "--pgdata", self._data, "--username", "postgres"),
                *("--encoding", "UTF8", "--locale", "C", "--no-sync", *self._login_options()),
            ],
            cwd="/",
            user=user,
            group=user,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            timeout=INITDB_TIMEOUT_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise PartError(f"initdb failed in {self._data}:\n{done.stdout}{done.stderr}")

    def _login_options(self) -> Sequence[str | Path]:
        """How initdb is told who may log in."""
        return ("--auth", "trust")

    def _settings(self) -> Mapping[str, str]:
        """The server's settings."""
        return {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            # Shared memory as files in the data folder: nothing is left behind by a kill.
            "dynamic_shared_memory_type": "mmap",
            # synchronous_commit stays on: off, a kill would lose commits that were acknowledged.
            "fsync": "off",
            "full_page_writes": "off",
        }

    def _command(self) -> Sequence[str | Path]:
        options = [word for key, value in self._settings().items() for word in ("-c", f"{key}={value}")]
        return [_binary("postgres"), "-D", self._data, *options]

    def _ready(self) -> bool:
        if not is_listening(self.port):
            return False
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _binaries() -> Path | None:
    """The folder of the newest installed PostgreSQL server: Debian's place first, then PATH."""
    folders = sorted(BINARIES.glob("*/bin"), key=lambda folder: _version(folder.parent.name), reverse=True)
    in_path = shutil.which("initdb")
    folders += [Path(in_path).resolve().parent] if in_path else []
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in name.split(".") if number.isdigit())


def _binary(name: str) -> Path:
    folder = _binaries()
    if folder is None:
        raise PartUnavailableError(str(Postgres.missing()))
    return folder / name


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
