"""The whole pipeline on a broker of TLS, passwords and ACLs, a registry and a Postgres of TLS and passwords: proved."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from consumers.stores import open_store
from penstock.acls import STAGES
from penstock.errors import UsageError
from penstock.settings import Settings, load_settings
from referee.database import open_database
from testbed.kafka_secure import ADMIN, SecureKafka
from testbed.part import Part
from testbed.pipeline import REPOSITORY, Parts, Pipeline, fates
from testbed.postgres import BINARIES
from testbed.postgres_secure import PASSWORD, SUPERUSER, SecurePostgres
from testbed.registry import SchemaRegistry
from testbed.registry_gate import RegistryGate

pytestmark = pytest.mark.slow

ROLES = REPOSITORY / "infra" / "postgres" / "20-roles.sh"
EVENTS = 2_000


class Secured(NamedTuple):
    """A registry and a Postgres that want TLS and a password; the database has the roles of the compose stack."""

    registry: RegistryGate
    postgres: SecurePostgres

    def url(self, role: str, **parameters: str) -> str:
        return self.postgres.url_for(f"penstock_{role}", f"{role} secret", "penstock", **parameters)


@pytest.fixture(scope="module")
def secured(registry: SchemaRegistry, start_part: Callable[[Part], None]) -> Iterator[Secured]:
    database = SecurePostgres()
    try:
        start_part(database)
        _make_roles(database)
        with RegistryGate(registry.url, database.certificates, "penstock", "registry secret") as gate:
            yield Secured(gate, database)
    finally:
        database.close()


def _make_roles(postgres: SecurePostgres) -> None:
    """Run what the compose stack runs on an empty volume."""
    postgres.create_database("penstock")
    psql = shutil.which("psql") or str(next(BINARIES.glob("*/bin/psql")))
    environment = {
        "PATH": f"{Path(psql).parent}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGPASSWORD": PASSWORD,
        "PGSSLMODE": "verify-full", "PGSSLROOTCERT": str(postgres.certificates.ca),
        "POSTGRES_USER": SUPERUSER, "POSTGRES_DB": "penstock",
        "VIEWS_PASSWORD": "views secret", "READER_PASSWORD": "reader secret",
    }  # fmt: skip
    subprocess.run(["bash", ROLES], env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture
def pipeline(secured: Secured, tmp_path: Path) -> Iterator[Pipeline]:
    """Commands with the registry's password in a file, and the database as the reader."""
    (tmp_path / "password").write_text("registry secret\n", encoding="utf-8")
    with Pipeline(Parts("127.0.0.1:1", secured.registry.url), tmp_path / "run", secured.url("reader")) as made:
        yield made.use(
            SCHEMA_REGISTRY_USERNAME="penstock",
            SCHEMA_REGISTRY_PASSWORD_FILE=str(tmp_path / "password"),
            SCHEMA_REGISTRY_SSL_CA_LOCATION=str(secured.postgres.certificates.ca),
        )


@pytest.mark.timeout(900)  # a dozen processes one after the other: a minute, or many on a machine that is busy
def test_every_stage_does_its_work_with_its_own_users_and_rights_alone_and_the_numbers_are_proved(
    pipeline: Pipeline, secured: Secured, start_part: Callable[[Part], None], tmp_path: Path
) -> None:
    broker = SecureKafka({f"penstock-{stage}": f"{stage} secret" for stage in STAGES})
    try:
        start_part(broker)

        def user(stage: str) -> dict[str, str]:
            settings = broker.client_settings(f"penstock-{stage}")
            password = tmp_path / f"{stage}.password"
            password.write_text(settings.pop("KAFKA_SASL_PASSWORD") + "\n", encoding="utf-8")
            return settings | {"KAFKA_SASL_PASSWORD_FILE": str(password)}

        pipeline.run("acls", "apply", **broker.client_settings(ADMIN))
        _run_all(pipeline, secured, user)
    finally:
        for stage in pipeline.stages.values():
            stage.child.stop(timeout=30.0)
        broker.close()


def _run_all(pipeline: Pipeline, secured: Secured, user: Callable[[str], dict[str, str]]) -> None:
    pipeline.run("topics", "create", **user("admin"))
    pipeline.run("schemas", "register")
    pipeline.start_processors(2, **user("processors"))
    pipeline.start_views(DATABASE_URL=secured.url("views"), **user("consumers"))
    faults = ("--duplicates", "2%", "--late", "2%", "--poison", "1%")
    for what in ("orders", "telemetry"):
        pipeline.send("produce", what, "--count", str(EVENTS), "--duration", "10m", *faults, **user("producers"))
    pipeline.settle()
    pipeline.use(**user("referee"))
    verdict = pipeline.prove()
    assert fates(verdict)["applied"] > EVENTS
    assert min(fates(verdict)[fate] for fate in ("duplicate", "late", "dead")) > 0
    pipeline.run("books")
    (order_id,) = pipeline.row("SELECT order_id FROM orders LIMIT 1")
    pipeline.run("explain", "orders", "--key", f"order_id={order_id}")
    lacking = pipeline.run("process", expect=1, **user("referee"))  # reads all, and may not join the group
    assert "Group authorization failed: we lack a right" in lacking.output
    _only_read(secured)


def _only_read(secured: Secured) -> None:
    """The reader sees all that the views show, and changes nothing, even when its session allows writing."""
    with psycopg.connect(secured.url("reader"), autocommit=True) as reader:
        relations = dict(reader.execute(
            "SELECT table_name, table_type = 'VIEW' FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall())  # fmt: skip
        assert {"orders", "orders_v1", "offsets"} <= relations.keys()
        reader.execute("SET default_transaction_read_only = off")
        for name, is_view in relations.items():
            reader.execute(f'SELECT count(*) FROM "{name}"'.encode())
            changes = ("DROP VIEW",) if is_view else ("DELETE FROM", "DROP TABLE", "TRUNCATE")
            for change in changes:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(f'{change} "{name}"'.encode())
        for statement in ("CREATE TABLE mine (x int)", "CREATE TEMP TABLE mine (x int)", "CREATE SCHEMA mine"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement.encode())


@pytest.mark.parametrize(
    ("change", "words"),
    [("password", "password authentication failed"), ("ca", "certificate verify failed"), ("plain", "no encryption")],
)
def test_a_database_that_refuses_us_is_a_wrong_setting_to_who_reads_and_to_who_writes(
    secured: Secured, change: str, words: str
) -> None:
    urls = {
        "password": secured.postgres.url_for("penstock_reader", "wrong secret", "penstock"),
        "ca": secured.url("reader", sslrootcert=str(secured.postgres.certificates.stranger)),
        "plain": secured.url("reader", sslmode="disable"),
    }
    settings = load_settings(database_url=urls[change])
    for use in (open_database, _prepare_views):
        with pytest.raises(UsageError, match="DATABASE_URL: can't use ") as refused:
            use(settings)
        assert words in str(refused.value)
        assert "secret" not in str(refused.value)
        assert "\n" not in str(refused.value)


def _prepare_views(settings: Settings) -> None:
    with open_store(settings).transaction():
        raise AssertionError("it let us in")


def test_a_registry_that_refuses_us_ends_a_command_with_2_and_one_line(pipeline: Pipeline, secured: Secured) -> None:
    wrong = {"SCHEMA_REGISTRY_PASSWORD_FILE": "", "SCHEMA_REGISTRY_PASSWORD": "wrong"}
    refused = pipeline.run("schemas", "register", expect=2, **wrong).verdict_line
    assert "refuses us (401)" in refused
    assert "SCHEMA_REGISTRY_PASSWORD" in refused
    stranger = str(secured.postgres.certificates.stranger)
    untrusted = pipeline.run("schemas", "register", expect=2, SCHEMA_REGISTRY_SSL_CA_LOCATION=stranger).verdict_line
    assert "CERTIFICATE_VERIFY_FAILED" in untrusted
    assert "SCHEMA_REGISTRY_SSL_CA_LOCATION" in untrusted
    no_file = pipeline.run("schemas", "register", expect=2, SCHEMA_REGISTRY_PASSWORD_FILE="/no/such/file").verdict_line
    assert "SCHEMA_REGISTRY_PASSWORD_FILE: can't read /no/such/file" in no_file
