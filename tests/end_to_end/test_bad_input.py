"""Wrong input and settings, parts that are away: a clear line, the documented exit code, and proof after recovery."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest

from penstock.avro import Encoder
from penstock.contracts import load_contracts
from penstock.registry import Registry, RegistryIds
from penstock.settings import load_settings
from penstock.topics import BY_NAME
from testbed.java import QUICK_START
from testbed.kafka import KafkaBroker
from testbed.part import Part
from testbed.pipeline import REPOSITORY, Answer, Done, Parts, Pipeline, Stage, fates
from testbed.postgres import Postgres
from testbed.processes import LOOPBACK, free_port, wait_until
from testbed.registry import SchemaRegistry
from tests.end_to_end.conftest import DatabaseKind
from tests.end_to_end.gate import Gate

pytestmark = pytest.mark.real

SAMPLES = REPOSITORY / "samples"
RETAIL = SAMPLES / "online-retail" / "2010-12-01.csv"
SPEED = SAMPLES / "numenta" / "speed_7578.csv"
FAULTS = ("--disorder", "4s", "--duplicates", "2%", "--late", "2%", "--poison", "1%")


@pytest.fixture(scope="module")
def quiet(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A pipeline whose topics are there, and nothing else."""
    with Pipeline(parts, tmp_path_factory.mktemp("quiet")).create_topics() as pipeline:
        yield pipeline


@pytest.fixture(scope="module")
def closed_port() -> int:
    """A port on which nobody listens."""
    return free_port()


def explained(done: Done, *words: str) -> None:
    """Hold a failure to one line for people that has these words."""
    line = done.verdict_line
    assert line.startswith("penstock: "), done.output
    assert all(word in line for word in words), line


class Wrong(NamedTuple):
    """A command that can't work, and words of the line that must say why. ``PORT`` is where nobody listens."""

    command: str
    setting: str
    words: tuple[str, ...]

    def run(self, pipeline: Pipeline, expect: int, port: int = 0) -> Done:
        name, _, value = self.setting.replace("PORT", str(port)).partition("=")
        settings = {name: value.replace("REGISTRY", pipeline.parts.registry_url.split("/apis")[0])} if name else {}
        return pipeline.run(*self.command.split(), expect=expect, **settings)


def wrong(command: str, setting: str, *words: str) -> Wrong:
    return Wrong(command, setting, words)


MYSQL = "DATABASE_URL=mysql://me:secret@host/views"
SSL = "KAFKA_SSL_CA_LOCATION=/no/such/file"


@pytest.mark.parametrize(
    "case",
    [
        wrong("materialize no-such-view", "", "no-such-view", "order_metrics"),
        wrong("config", MYSQL, "DATABASE_URL", "postgresql://"),
        wrong("materialize", "DATABASE_URL=postgresql://me:secret@host:port/views", "DATABASE_URL", "port"),
        wrong("materialize", "DATABASE_URL=sqlite:///no/such/folder/views.db", "no/such/folder/views.db"),
        wrong("materialize", f"DATABASE_URL=sqlite:///{RETAIL}", "not a database"),
        wrong("verify", f"DATABASE_URL=sqlite:///{RETAIL}", "not a database"),
        wrong("verify", "DATABASE_URL=sqlite:///", "names no file"),
        wrong("topics list", "KAFKA_BOOTSTRAP_SERVERS=", "KAFKA_BOOTSTRAP_SERVERS", "HOST:PORT"),
        wrong("process", "KAFKA_SECURITY_PROTOCOL=SASL_SSL", "KAFKA_SASL_USERNAME"),
        wrong("process", "PENSTOCK_PIPELINE_VERSION=first", "PENSTOCK_PIPELINE_VERSION", "first"),
        wrong("process", "PENSTOCK_FAILPOINTS=nowhere=kill@1", "nowhere"),
        wrong("process", "SCHEMA_REGISTRY_URL=", "SCHEMA_REGISTRY_URL", "PENSTOCK_EMBEDDED"),
        wrong("produce orders --count 1", "SCHEMA_REGISTRY_URL=", "SCHEMA_REGISTRY_URL"),
        wrong("verify", "SCHEMA_REGISTRY_URL=ftp://registry", "ftp://registry", "http://"),
        wrong("produce orders --rate -1", "", "--rate", "-1"),
        wrong("produce orders --count 1 --truth /no/such/folder/truth.json", "", "/no/such/folder"),
        wrong("replay online-retail /no/such/file.csv", "", "/no/such/file.csv"),
        wrong(f"replay online-retail {SPEED}", "", "speed_7578.csv", "InvoiceNo"),
        wrong(f"replay readings --sensor smell --unit mph {SPEED}", "", "smell", "temperature"),
    ],
    ids=lambda case: f"{case.command.split(' /')[0]} {case.setting.partition('=')[0]}".strip(),
)
def test_a_wrong_setting_or_argument_ends_a_command_with_2_and_a_line_that_names_it(
    quiet: Pipeline, case: Wrong
) -> None:
    done = case.run(quiet, 2)
    explained(done, *case.words)
    assert "secret" not in done.output


@pytest.mark.parametrize("command", ["materialize", "verify"])
def test_a_postgres_database_that_does_not_exist_ends_a_command_with_2(
    quiet: Pipeline, postgres: Postgres, command: str
) -> None:
    url = postgres.url.rsplit("/", 1)[0] + "/nowhere"
    explained(quiet.run(command, expect=2, DATABASE_URL=url), 'database "nowhere" does not exist')


@pytest.mark.parametrize("command", ["process", "materialize", "produce orders --count 1", "verify --timeout 2"])
def test_a_topic_that_does_not_exist_ends_a_command_with_1_and_says_what_makes_it(
    quiet: Pipeline, command: str
) -> None:
    done = quiet.run(*command.split(), expect=1, PENSTOCK_TOPIC_PREFIX="nowhere-")
    explained(done, "topic nowhere-", "does not exist", "penstock topics create")


@pytest.mark.parametrize("command", ["process", "materialize", "produce orders --rate 1"])
def test_a_port_that_is_taken_ends_a_stage_with_2(quiet: Pipeline, command: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as listener:
        port = str(listener.getsockname()[1])
        done = quiet.run(*command.split(), expect=2, PENSTOCK_HTTP_PORT=port)
    explained(done, "PENSTOCK_HTTP_PORT", port)


@pytest.mark.parametrize("command", ["process", "produce orders --count 1", "schemas register"])
def test_an_address_that_is_no_registry_ends_a_command_with_1_and_names_it(quiet: Pipeline, command: str) -> None:
    explained(wrong(command, "SCHEMA_REGISTRY_URL=REGISTRY").run(quiet, 1), "SCHEMA_REGISTRY_URL", "/apis/ccompat/v7")


@pytest.mark.parametrize(
    "case",
    [
        wrong("topics create --timeout 1", "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:PORT", "broker"),
        wrong("produce orders --count 1 --timeout 1s", "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:PORT", "broker"),
        wrong("verify --timeout 1", "KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:PORT", "broker"),
        wrong("schemas register --timeout 1", "SCHEMA_REGISTRY_URL=http://127.0.0.1:PORT", "registry", "127.0.0.1"),
        wrong("schemas check --timeout 1", "SCHEMA_REGISTRY_URL=http://127.0.0.1:PORT", "registry", "127.0.0.1"),
        wrong(f"replay online-retail --timeout 1s {RETAIL}", "SCHEMA_REGISTRY_URL=http://127.0.0.1:PORT", "registry"),
        wrong("verify --timeout 1", "DATABASE_URL=postgresql://me@127.0.0.1:PORT/views", "127.0.0.1"),
        wrong("verify --timeout 1", "DATABASE_URL=sqlite:///nowhere.db", "nowhere.db", "penstock materialize"),
    ],
    ids=lambda case: f"{case.command.split(' /')[0]} {case.setting.partition('=')[0]}",
)
def test_a_one_shot_command_gives_up_with_3_when_a_part_is_away_for_the_whole_timeout(
    quiet: Pipeline, closed_port: int, case: Wrong
) -> None:
    explained(case.run(quiet, 3, closed_port), "gave up after", *case.words)


@pytest.mark.parametrize("command", ["process", "materialize", "produce orders --rate 1"])
def test_a_stage_that_waits_for_its_broker_stops_in_order_when_it_is_asked_to(
    quiet: Pipeline, closed_port: int, command: str
) -> None:
    stage = quiet.start("waiting", *command.split(), KAFKA_BOOTSTRAP_SERVERS=f"{LOOPBACK}:{closed_port}")
    assert stage.ask("/live").status in (0, 200)
    stage.until(lambda: stage.ask("/live") == Answer(200, {}), "it is live")
    stage.child.send(signal.SIGTERM)
    assert stage.until_ended(15.0) == 0
    assert "Traceback" not in stage.log
    del quiet.stages["waiting"]


@pytest.mark.slow
def test_rows_that_can_not_be_read_are_named_by_file_and_line_and_the_others_count(
    parts: Parts, tmp_path: Path
) -> None:
    header, first, *others = RETAIL.read_text().splitlines()
    number, sku, text, _, at, price, customer, country = first.split(",")
    bad = [
        ",".join((number, sku, text, "six", at, price, customer, country)),
        ",".join((number, sku, text, "6", "yesterday", price, customer, country)),
        ",".join((number, sku, text, "6", at, "NaN", customer, country)),
        ",".join((number, "", text, "6", at, price, customer, country)),
        ",".join((number, sku, text)),
        ",".join((number, sku, text, "6", at, price, customer, "\N{REPLACEMENT CHARACTER}")),
    ]
    file = tmp_path / "2010-12-01.csv"
    file.write_text("\n".join([header, first, *bad, *others, '999999,A,"never closed,6,' + at + ",1,,UK"]) + "\n")
    with Pipeline(parts, tmp_path / "run").create_topics() as pipeline:
        done = pipeline.run("replay", "online-retail", "--truth", "truth.json", file, expect=1)
        words = ("six", "yesterday", "NaN", "StockCode", "3 columns", "Country")
        for line, word in enumerate(words, start=3):
            (told,) = [each for each in done.stdout.splitlines() if each.startswith(f"{file.name}:{line}: ")]
            assert word in told
        assert json.loads((pipeline.folder / "truth.json").read_text())["malformed_rows"] == len(bad) + 1
        pipeline.count(pipeline.folder / "truth.json")
        pipeline.start_processors()
        pipeline.start_views()
        pipeline.prove()
        days = "SELECT country, orders, units, revenue FROM order_metrics_by_day ORDER BY country"
        sums = pipeline.rows(days)

        # The file as it was: its events have the same ids, and say the same.
        pipeline.send("replay", "online-retail", RETAIL)
        pipeline.prove()
        assert pipeline.rows(days) == sums
        pipeline.stop()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_views_wait_while_the_database_is_locked_and_go_on_when_it_is_free(
    parts: Parts, tmp_path: Path, new_database: Callable[[DatabaseKind, str], str], database: DatabaseKind
) -> None:
    with Pipeline(parts, tmp_path, new_database(database, "locked")).create_topics() as pipeline:
        pipeline.start_processors()
        views = pipeline.start_views().until_ready()
        with locked(pipeline):
            pipeline.send("produce", "all", "--count", "1000", "--duration", "5m", *FAULTS)
            assert "lock" in views.until_waiting_for("database")
            assert views.metrics()  # the figures that can't be read are left out
            done = pipeline.run("verify", "--timeout", "3", expect=3)
            explained(done, "gave up after")
        views.until_ready()
        pipeline.prove()
        assert "Traceback" not in views.log
        pipeline.stop()


def locked(pipeline: Pipeline) -> closing[sqlite3.Connection] | closing[psycopg.Connection]:
    """Lock the tables, as another program might; the lock ends with the block."""
    if pipeline.database_url.startswith("sqlite:///"):
        connection = sqlite3.connect(pipeline.database_url.removeprefix("sqlite:///"), isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        return closing(connection)
    database = psycopg.connect(pipeline.database_url)
    database.execute("LOCK TABLE offsets IN ACCESS EXCLUSIVE MODE")
    return closing(database)


@pytest.mark.slow
def test_views_wait_while_postgres_is_away_and_go_on_when_it_is_back(
    parts: Parts, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.create_database("away")
    port = urlsplit(url).port
    assert port is not None
    with (
        Gate(port) as gate,
        Pipeline(parts, tmp_path, url.replace(f":{port}/", f":{gate.port}/")).create_topics() as pipeline,
    ):
        pipeline.start_processors()
        views = pipeline.start_views()
        assert str(gate.port) in views.until_waiting_for("database")
        gate.open()
        views.until_ready()
        pipeline.send("produce", "all", "--count", "1000", "--duration", "5m", *FAULTS)
        pipeline.prove()

        gate.shut()
        pipeline.send("produce", "all", "--count", "1000", "--duration", "5m", *FAULTS)
        views.until_waiting_for("database")
        gate.open()
        views.until_ready()
        pipeline.prove()
        assert "Traceback" not in views.log
        pipeline.stop()


@pytest.mark.slow
def test_verify_gives_up_with_3_while_the_registry_is_away_and_proves_when_it_is_back(
    parts: Parts, tmp_path: Path, closed_port: int
) -> None:
    with Pipeline(parts, tmp_path).create_topics() as pipeline:
        pipeline.start_processors()
        pipeline.start_views()
        pipeline.send("produce", "orders", "--count", "100")
        pipeline.settle()
        away = f"http://{LOOPBACK}:{closed_port}/apis/ccompat/v7"
        explained(pipeline.run("verify", "--timeout", "2", expect=3, SCHEMA_REGISTRY_URL=away), "registry", away)
        pipeline.prove()
        pipeline.stop()


@pytest.fixture
def own_kafka(start_part: Callable[[Part], None]) -> Iterator[KafkaBroker]:
    """A broker of the test's own, to stop and kill; starts when the test says."""
    broker = KafkaBroker(jvm_options=QUICK_START)
    start_part(broker)
    yield broker
    broker.close()


@pytest.mark.slow
def test_stages_wait_while_the_broker_is_away_at_their_start_and_later(
    parts: Parts, own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Pipeline(parts._replace(bootstrap_servers=own_kafka.bootstrap_servers), tmp_path).create_topics() as pipeline:
        own_kafka.stop()
        truth = tmp_path / "truth.json"
        stages: list[Stage] = [*pipeline.start_processors(), pipeline.start_views()]
        producer = pipeline.start(
            "producer", "produce", "all", "--rate", "100", "--disorder", "2s", "--truth", truth
        )
        for stage, broker in zip((*stages, producer), ("kafka", "broker", "kafka"), strict=True):
            stage.until_waiting_for(broker)
        own_kafka.start()
        for stage in (*stages, producer):
            stage.until_ready()
        stages[1].until(lambda: pipeline.row("SELECT count(*) FROM orders")[0] > 20, "orders are seen")

        own_kafka.kill()
        for stage, broker in zip((*stages, producer), ("kafka", "broker", "kafka"), strict=True):
            stage.until_waiting_for(broker)
        own_kafka.start()
        for stage in (*stages, producer):
            stage.until_ready()
        producer.child.send(signal.SIGTERM)
        assert producer.until_ended() == 0
        del pipeline.stages["producer"]
        pipeline.count(truth)
        pipeline.prove()
        assert all("Traceback" not in stage.log for stage in stages)
        pipeline.stop()


@pytest.mark.slow
def test_stages_end_within_a_container_s_grace_though_the_broker_went_away(
    parts: Parts, own_kafka: KafkaBroker, tmp_path: Path
) -> None:
    with Pipeline(parts._replace(bootstrap_servers=own_kafka.bootstrap_servers), tmp_path).create_topics() as pipeline:
        processor, views = *pipeline.start_processors(), pipeline.start_views()
        truth = tmp_path / "truth.json"
        producer = pipeline.start("producer", "produce", "all", "--rate", "200", "--truth", truth)
        processor.until_ready()
        views.until_ready()
        views.until(lambda: pipeline.row("SELECT count(*) FROM orders")[0] > 20, "orders are seen")
        own_kafka.kill()
        for stage in (processor, views, producer):
            stage.child.send(signal.SIGTERM)
        # What was not acknowledged is told (3) or was nothing (0); either way it is safe to start again.
        assert {stage.until_ended(10.0) for stage in (processor, views, producer)} <= {0, 3}

        own_kafka.start()
        pipeline.stages.clear()
        told = json.loads(truth.read_text())["topics"]
        pipeline.acknowledged = sum(topic["acknowledged"] for topic in told.values())
        pipeline.send("produce", "all", "--count", "0")
        pipeline.start_processors()
        pipeline.start_views()
        until_caught_up(pipeline)
        verdict = pipeline.verify()
        # An answer to a write may be lost with the broker: such an event is there, though nobody was told so.
        assert sum(book["position"] for book in verdict["books"]) >= pipeline.acknowledged
        assert list(tmp_path.glob("penstock*")) == []  # nothing is left where a stage was started
        pipeline.stop()


def until_caught_up(pipeline: Pipeline) -> None:
    """Wait until at least all that was acknowledged is settled, and nothing lags."""

    def caught_up() -> bool:
        progress = pipeline.progress()
        done = progress.settled >= progress.acknowledged and not progress.away
        return done and progress.imbalance == progress.open_panes == progress.lag == 0

    wait_until(caught_up, 60.0, "all is settled", every=0.2)


@pytest.fixture
def own_registry(start_part: Callable[[Part], None]) -> Iterator[SchemaRegistry]:
    """A registry of the test's own: what the test registers is nobody else's business."""
    registry = SchemaRegistry()
    start_part(registry)
    yield registry
    registry.close()


def upgrade(pipeline: Pipeline) -> None:
    """Put contracts of a newer build before this one's: ``OrderPlaced`` has one more field."""
    newer = pipeline.folder / "avro_schemas"
    shutil.copytree(REPOSITORY / "avro_schemas", newer, ignore=shutil.ignore_patterns("__pycache__"))
    file = newer / "orders" / "OrderPlaced.avsc"
    schema = json.loads(file.read_text())
    schema["fields"].append({"name": "channel", "type": "string", "default": "web", "doc": "Where it was placed."})
    file.write_text(json.dumps(schema))
    pipeline.run("schemas", "lock")
    pipeline.run("schemas", "register")


def newer_order(pipeline: Pipeline, order_id: str) -> bytes:
    """Return an order as the newer build's producers would encode it."""
    settings = load_settings(schema_registry_url=pipeline.parts.registry_url, embedded=False)
    contracts = load_contracts(pipeline.folder / "avro_schemas")
    ids = RegistryIds(Registry(settings), contracts=contracts)
    contract = contracts["OrderPlaced"]
    item = {"sku": "A", "quantity": 1, "unit_price_e4": 12_500}
    return Encoder(contract, ids.id_of(contract, BY_NAME["orders"])).encode(
        {
            "event_id": str(uuid.uuid4()), "occurred_at": int(time.time() * 1_000), "source": "test",
            "order_id": order_id, "customer_id": None, "country": "Malta", "currency": "EUR", "amount_e4": 12_500,
            "items": [item], "channel": "phone",
        }
    )  # fmt: skip


@pytest.mark.slow
def test_events_of_a_newer_build_stop_this_one_with_4_and_the_newer_one_goes_on(
    parts: Parts, own_registry: SchemaRegistry, tmp_path: Path
) -> None:
    both = parts._replace(registry_url=own_registry.url)
    with (
        Pipeline(both, tmp_path / "old") as old,
        Pipeline(both, tmp_path / "new", prefix=old.prefix, database_url=old.database_url) as new,
    ):
        old.run("schemas", "register")
        old.create_topics()
        old.start_processors()
        old.start_views()
        old.send("produce", "orders", "--count", "200")
        old.prove()

        upgrade(new)
        new.acknowledged = old.acknowledged
        new.send_raw("orders", [("o-1", newer_order(new, "o-1"))])
        new.send("produce", "orders", "--count", "0")
        for name in ("processor-1", "views"):
            stage = old.stages.pop(name)
            assert stage.until_ended() == 4
            said = stage.log.strip().splitlines()[-1]
            assert "OrderPlaced" in said
            assert "upgrade" in said
            assert "Traceback" not in stage.log
        old.verify()  # what this build has folded is right as ever

        new.start_processors()
        new.start_views()
        assert fates(new.prove())["dead"] == 0
        assert new.rows("SELECT country, status FROM orders WHERE order_id = 'o-1'") == [("Malta", "placed")]
        explained(old.run("verify", "--timeout", "3", expect=4), "OrderPlaced", "upgrade")
        new.stop()
