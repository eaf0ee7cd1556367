"""A real PostgreSQL that takes connections by TLS with a password only."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlencode

from testbed.certificates import Certificates
from testbed.postgres import Postgres
from testbed.processes import LOOPBACK

SUPERUSER = "postgres"
PASSWORD = "postgres-secret"


class SecurePostgres(Postgres):
    """PostgreSQL with `hostssl` and SCRAM as the only way in; `url` verifies its certificate and name."""

    def __init__(self) -> None:
        super().__init__()
        self.certificates = Certificates(self.directory / "certificates")

    def url_for(self, user: str, password: str, database: str = SUPERUSER, **parameters: str) -> str:
        """The URL of a database for this user; `parameters` of libpq come on top of `sslmode=verify-full`."""
        trust = {"sslmode": "verify-full", "sslrootcert": str(self.certificates.ca), **parameters}
        return f"postgresql://{quote(user)}:{quote(password)}@{LOOPBACK}:{self.port}/{quote(database)}?{urlencode(trust)}"

    def _url_of(self, database: str) -> str:
        return self.url_for(SUPERUSER, PASSWORD, database)

    def _login_options(self) -> Sequence[str | Path]:
        return ("--auth", "scram-sha-256", "--pwfile", self._password_file)

    @property
    def _password_file(self) -> Path:
        return self.directory / "password"

    def _prepare(self) -> None:
        self._password_file.write_text(PASSWORD, encoding="utf-8")
        user = self._user()
        if user is not None:
            for path in (self._password_file, self.certificates.key):
                shutil.chown(path, user, user)
        super()._prepare()
        rules = f"hostssl all all {LOOPBACK}/32 scram-sha-256\n"
        (self._data / "pg_hba.conf").write_text(rules, encoding="utf-8")

    def _settings(self) -> Mapping[str, str]:
        return {
            **super()._settings(),
            "ssl": "on",
            "ssl_cert_file": str(self.certificates.certificate),
            "ssl_key_file": str(self.certificates.key),
        }
