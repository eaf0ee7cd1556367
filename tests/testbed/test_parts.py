"""The real parts: each starts, answers on loopback only, and is there again after a kill."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import psutil
import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from testbed.availability import PARTS
from testbed.java import QUICK_START
from testbed.kafka import ExternalKafka, KafkaBroker
from testbed.part import Part, PartName
from testbed.postgres import Postgres
from testbed.processes import PartError, free_port, wait_until
from testbed.prometheus import Prometheus, scrape_config
from testbed.registry import SchemaRegistry

pytestmark = pytest.mark.real

SCHEMA = '{"type": "record", "name": "OrderPlaced", "fields": [{"name": "order_id", "type": "string"}]}'


@pytest.fixture(scope="module")
def own(start_part: Callable[[Part], None]) -> Iterator[Callable[[PartName], Part]]:
    """Parts of this module's own, which its tests may kill; running when handed out."""
    parts: dict[PartName, Part] = {
        "kafka": KafkaBroker(jvm_options=QUICK_START),
        "registry": SchemaRegistry(),
        "postgres": Postgres(),
        "prometheus": Prometheus(),
    }

    def running(name: PartName) -> Part:
        start_part(parts[name])
        return parts[name]

    yield running
    for part in parts.values():
        part.close()


def test_a_kafka_topic_and_its_records_survive_a_kill(own: Callable[[PartName], Part]) -> None:
    broker = own("kafka")
    assert isinstance(broker, KafkaBroker)
    create_topic(broker.bootstrap_servers, "orders")
    produce(broker.bootstrap_servers, "orders", b"before the kill")

    broker.kill()
    assert not broker.running
    broker.start()

    produce(broker.bootstrap_servers, "orders", b"after it")
    assert consume(broker.bootstrap_servers, "orders", 2) == [b"before the kill", b"after it"]


def test_kafka_does_not_create_a_topic_by_use(own: Callable[[PartName], Part]) -> None:
    broker = own("kafka")
    assert isinstance(broker, KafkaBroker)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap_servers})
    admin.list_topics("never-created", timeout=10)
    assert "never-created" not in admin.list_topics(timeout=10).topics


def test_a_kafka_group_takes_a_session_of_one_second_and_forms_at_once(
    own: Callable[[PartName], Part],
) -> None:
    broker = own("kafka")
    assert isinstance(broker, KafkaBroker)
    create_topic(broker.bootstrap_servers, "readings")
    produce(broker.bootstrap_servers, "readings", b"21.5")
    began = time.monotonic()
    assert consume(broker.bootstrap_servers, "readings", 1, session_timeout_ms=1000) == [b"21.5"]
    assert time.monotonic() - began < 15


def test_a_postgres_row_survives_a_kill_and_a_restart(own: Callable[[PartName], Part]) -> None:
    postgres = own("postgres")
    assert isinstance(postgres, Postgres)
    url = postgres.create_database("Views & more")
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (word text)")
        connection.execute("INSERT INTO kept VALUES ('before the kill')")

    postgres.kill()
    assert not postgres.running
    postgres.start()
    postgres.restart()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT word FROM kept").fetchall() == [("before the kill",)]


def test_postgres_stops_although_a_client_is_connected(own: Callable[[PartName], Part]) -> None:
    postgres = own("postgres")
    assert isinstance(postgres, Postgres)
    with psycopg.connect(postgres.url):
        began = time.monotonic()
        postgres.stop()
    assert not postgres.running
    assert time.monotonic() - began < 10


def test_the_registry_registers_a_schema_and_restarts_empty_after_a_kill(
    own: Callable[[PartName], Part],
) -> None:
    registry = own("registry")
    assert isinstance(registry, SchemaRegistry)
    with httpx.Client(base_url=registry.url, timeout=10, trust_env=False) as client:
        answer = client.post("/subjects/orders-OrderPlaced/versions", json={"schema": SCHEMA})
        schema_id = answer.raise_for_status().json()["id"]
        assert client.get(f"/schemas/ids/{schema_id}").raise_for_status().json()["schema"]
        assert client.get("/subjects").json() == ["orders-OrderPlaced"]

        registry.kill()
        assert not registry.running
        registry.start()

        assert client.get("/subjects").raise_for_status().json() == []


def test_prometheus_scrapes_evaluates_rules_and_takes_another_configuration(
    start_prometheus: Callable[..., Prometheus],
) -> None:
    rules = "groups: [{name: g, rules: [{alert: Gone, expr: 'up == 0', labels: {severity: warning}}]}]"
    nobody = f"127.0.0.1:{free_port()}"
    prometheus = start_prometheus(scrape_config({"gone": [nobody]}, every_s=0.2, rules=["r.yml"]), {"r.yml": rules})
    alerts = wait_until(prometheus.alerts, 30, "the alert fires")
    assert [(alert.name, alert.labels["instance"]) for alert in alerts] == [("Gone", nobody)]
    assert prometheus.targets_up() == {f"gone {nobody}": False}
    assert prometheus.query("1 + 1")[0].value == 2
    with pytest.raises(ValueError, match="parse error"):
        prometheus.query("1 +")

    prometheus.reload(scrape_config({}))
    wait_until(lambda: not prometheus.alerts(), 30, "the rules are gone")
    with pytest.raises(PartError, match="refuses"):
        prometheus.reload("nonsense: 1")


@pytest.mark.parametrize("name", list(PARTS))
def test_a_part_listens_on_loopback_only(name: PartName, own: Callable[[PartName], Part]) -> None:
    part = own(name)
    assert part.pid is not None
    addresses = listening_addresses(part.pid)
    assert addresses
    assert addresses <= {"127.0.0.1", "::ffff:127.0.0.1"}


@pytest.mark.parametrize("name", list(PARTS))
def test_a_closed_part_leaves_nothing_behind(name: PartName, start_part: Callable[[Part], None]) -> None:
    part = PARTS[name]()
    start_part(part)
    with part:
        assert part.pid is not None
        tree = [psutil.Process(part.pid), *psutil.Process(part.pid).children(recursive=True)]
        assert part.directory.exists()
    wait_until(lambda: not any(process.is_running() for process in tree), 5, f"the end of {name}")
    assert not part.directory.exists()


def test_the_session_fixtures_hand_out_running_parts(
    kafka: KafkaBroker | ExternalKafka, bootstrap_servers: str, registry: SchemaRegistry, postgres: Postgres
) -> None:
    assert kafka.bootstrap_servers == bootstrap_servers
    assert AdminClient({"bootstrap.servers": bootstrap_servers}).list_topics(timeout=10).brokers
    assert httpx.get(f"{registry.url}/subjects", timeout=10, trust_env=False).status_code == httpx.codes.OK
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def create_topic(bootstrap_servers: str, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])[topic].result(timeout=30)


def produce(bootstrap_servers: str, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def consume(bootstrap_servers: str, topic: str, count: int, session_timeout_ms: int = 6000) -> list[bytes]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": str(uuid.uuid4()),
            "auto.offset.reset": "earliest",
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": session_timeout_ms // 3,
        }
    )
    values: list[bytes] = []

    def read() -> bool:
        messages = consumer.consume(count, timeout=0.2)
        values.extend(message.value() or b"" for message in messages if not message.error())
        return len(values) >= count

    try:
        consumer.subscribe([topic])
        wait_until(read, 30, f"{count} records of {topic}")
    finally:
        consumer.close()
    return values


def listening_addresses(pid: int) -> set[str]:
    root = psutil.Process(pid)
    addresses: set[str] = set()
    for process in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            connections = process.net_connections(kind="tcp")
            addresses |= {at.laddr.ip for at in connections if at.status == psutil.CONN_LISTEN}
    return addresses
